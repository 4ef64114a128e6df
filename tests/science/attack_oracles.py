"""PGD and Auto-PGD in NumPy float64, one example at a time, written out from the papers."""

import math

import numpy as np


def clip_linf(delta, radius):
    return np.minimum(np.maximum(delta, -radius), radius)


def clip_l2(delta, radius):
    length = math.sqrt((delta**2).sum())
    return delta if length <= radius else delta * (radius / length)


def along_sign(grad):
    return np.sign(grad)


def along_length(grad):
    return grad / math.sqrt((grad**2).sum())


NORMS = {"linf": (clip_linf, along_sign), "l2": (clip_l2, along_length)}


def project(norm, image, point, radius, bounds):
    """Onto the ball around the image, then onto the pixels' interval."""
    point = image + NORMS[norm][0](point - image, radius)
    return point if bounds is None else np.clip(point, *bounds)


def pgd_path(norm, image, value_and_grad, *, delta, radius, step_size, steps, bounds=(0.0, 1.0)):
    """Madry et al. 2018, section 2.1: the points x_0, ..., x_steps and the loss at each."""
    point = project(norm, image, image + delta, radius, bounds)
    points, values = [point], [value_and_grad(point)[0]]
    for _ in range(steps):
        ascent = NORMS[norm][1](value_and_grad(point)[1])
        point = project(norm, image, point + step_size * ascent, radius, bounds)
        points.append(point)
        values.append(value_and_grad(point)[0])
    return points, values


def apgd_checkpoints(steps):
    """Croce and Hein 2020, section 3.1: w_j = ceil(p_j N), p_1 = 0.22."""
    p = [0.0, 0.22]
    while p[-1] + max(p[-1] - p[-2] - 0.03, 0.06) <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return [math.ceil(round(100 * fraction) * steps / 100) for fraction in p]  # all are percents


def apgd(norm, image, value_and_grad, *, delta, radius, steps, rho=0.75, bounds=(0.0, 1.0)):
    """Croce and Hein 2020, algorithm 1.

    Returns the best point, its loss, and per checkpoint after the first whether condition 1 and
    condition 2 held.
    """
    marks = apgd_checkpoints(steps)
    x = {0: project(norm, image, image + delta, radius, bounds)}  # line 1
    f = {0: value_and_grad(x[0])[0]}
    eta = {0: 2 * radius}
    step = NORMS[norm][1](value_and_grad(x[0])[1])
    x[1] = project(norm, image, x[0] + eta[0] * step, radius, bounds)  # line 3
    f[1] = value_and_grad(x[1])[0]
    f_max, x_max = (f[1], x[1]) if f[1] > f[0] else (f[0], x[0])  # line 4
    best_at, eta_to, conditions = {0: f[0]}, {0: eta[0]}, []  # eta_to: the step that led there
    risen = [f[1] > f[0]]  # f(x_{i+1}) > f(x_i), i = 0, 1, ...

    def consider(k):
        """Lines 12 to 16, with w_j = k: eta and the point to go on from."""
        nonlocal x_max, f_max
        before = marks[marks.index(k) - 1]
        few = sum(risen[before:k]) < rho * (k - before)
        stuck = eta_to[before] == eta[k - 1] and best_at[before] == f_max
        conditions.append((bool(few), bool(stuck)))
        eta_to[k], best_at[k], eta[k] = eta[k - 1], f_max, eta[k - 1]
        if few or stuck:
            eta[k], x[k], f[k] = eta[k - 1] / 2, x_max, f_max

    eta[1] = eta[0]
    if 1 in marks:
        consider(1)
    for k in range(1, steps):  # line 5
        step = NORMS[norm][1](value_and_grad(x[k])[1])
        z = project(norm, image, x[k] + eta[k] * step, radius, bounds)  # line 6
        ahead = x[k] + 0.75 * (z - x[k]) + 0.25 * (x[k] - x[k - 1])
        x[k + 1] = project(norm, image, ahead, radius, bounds)  # line 7
        f[k + 1] = value_and_grad(x[k + 1])[0]
        risen.append(f[k + 1] > f[k])
        if f[k + 1] > f_max:  # lines 8 to 10
            f_max, x_max = f[k + 1], x[k + 1]
        eta[k + 1] = eta[k]
        if k + 1 in marks:  # line 11
            consider(k + 1)
    return x_max, f_max, conditions
