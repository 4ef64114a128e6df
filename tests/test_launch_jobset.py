"""The JobSet for GKE against a schema of what Kubernetes takes."""

from pathlib import Path

import jsonschema
import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[1] / "launch"


def section(required, **properties):
    """The schema of an object with these fields and no others; `required` a string of names."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def listed(items):
    return {"type": "array", "items": items, "minItems": 1}


TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
NAMES = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"anyOf": [WHOLE, {"type": "string", "pattern": r"^[0-9.]+([KMGT]i?|m)?$"}]}
RESOURCES = {"type": "object", "additionalProperties": QUANTITY}
CONTAINER = section(
    "name image",
    name=NAME,
    image=TEXT,
    workingDir=TEXT,
    command=listed(TEXT),
    args=listed(TEXT),
    env=listed(section("name value", name=TEXT, value=TEXT)),
    ports=listed(section("containerPort", containerPort=WHOLE)),
    resources=section("", limits=RESOURCES, requests=RESOURCES),
    volumeMounts=listed(section("name mountPath", name=NAME, mountPath=TEXT)),
)
POD = section(
    "containers restartPolicy",
    restartPolicy={"const": "Never"},  # a podFailurePolicy asks for it
    terminationGracePeriodSeconds=WHOLE,
    nodeSelector=NAMES,
    containers=listed(CONTAINER),
    volumes=listed(
        section(
            "name",
            name=NAME,
            persistentVolumeClaim=section("claimName", claimName=NAME),
            emptyDir=section("", medium={"enum": ["", "Memory"]}),
        )
    ),
)
EXIT_CODES = section(
    "operator values", containerName=NAME, operator={"enum": ["In", "NotIn"]}, values=listed(WHOLE)
)
JOB = section(
    "completionMode completions parallelism backoffLimit template",
    completionMode={"const": "Indexed"},  # gives JOB_COMPLETION_INDEX
    completions=WHOLE,
    parallelism=WHOLE,
    backoffLimit=WHOLE,
    podFailurePolicy=section(
        "rules",
        rules=listed(
            section(
                "action onExitCodes",
                action={"enum": ["FailJob", "Ignore", "Count"]},
                onExitCodes=EXIT_CODES,
            )
        ),
    ),
    template=section("spec", spec=POD),
)
RULE = section(
    "name action",
    name=TEXT,
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons=listed(
        {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]}
    ),
)
JOBSET = section(
    "apiVersion kind metadata spec",
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=section("name", name=NAME, labels=NAMES),
    spec=section(
        "network failurePolicy replicatedJobs",
        network=section("", enableDNSHostnames=FLAG, publishNotReadyAddresses=FLAG, subdomain=NAME),
        failurePolicy=section("maxRestarts", maxRestarts=WHOLE, rules=listed(RULE)),
        replicatedJobs=listed(
            section(
                "name replicas template",
                name=NAME,
                replicas=WHOLE,
                template=section("spec", spec=JOB),
            )
        ),
    ),
)


@pytest.fixture
def jobset():
    return yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())


def test_the_jobset_has_the_fields_it_may_have(jobset):
    jsonschema.Draft202012Validator.check_schema(JOBSET)
    jsonschema.validate(jobset, JOBSET)
    jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["backoffLimits"] = 0
    with pytest.raises(jsonschema.ValidationError, match="backoffLimits"):
        jsonschema.validate(jobset, JOBSET)


def test_the_jobs_parts_fit_one_another(jobset):
    """What a schema cannot see: names that refer to names, numbers that must agree."""
    (nodes,) = jobset["spec"]["replicatedJobs"]
    spec = nodes["template"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    first = f"{jobset['metadata']['name']}-{nodes['name']}-0-0"
    address = f"{first}.{jobset['spec']['network']['subdomain']}"
    (port,) = container["ports"]
    assert f"--coordinator={address}:{port['containerPort']}" in container["args"]
    assert f"--num_processes={spec['completions']}" in container["args"]
    assert spec["parallelism"] == spec["completions"]
    assert "--process_id=$(JOB_COMPLETION_INDEX)" in container["args"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert rule["onExitCodes"]["values"] == [2, 3]


def test_the_job_inside_is_one_that_kubernetes_knows(jobset):
    validate = pytest.importorskip("kubernetes_validate").validate
    inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "nodes"}}
    inner["spec"] = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert validate(inner, "1.31", strict=True) == "1.31"
