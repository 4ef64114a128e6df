"""Batch normalisation."""

from __future__ import annotations

import functools

import flax.linen as nn

BatchNorm = functools.partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)
