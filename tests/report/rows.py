"""A row of results that the tests of reports vary."""

from __future__ import annotations

from entres.results import Row

CLEAN = Row(
    student="resnet50-mshp-beta0.08-joint",
    backbone="resnet50.tv_in1k",
    codec="mshp",
    beta=0.08,
    recipe="joint",
    dataset="imagenet",
    condition="clean",
    corruption=None,
    severity=None,
    preset=None,
    epsilon_255=None,
    defense=None,
    images=100,
    accuracy=0.8,
    kib_mean=10.0,
    kib_std=1.5,
    seconds=1.0,
)
