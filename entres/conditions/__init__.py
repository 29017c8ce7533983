"""Test conditions: what is done to the images of another data module, batch by batch."""

from entres.conditions.adversarial import AdversarialDataModule
from entres.conditions.base import ConditionsDataModule
from entres.conditions.corrupted import CorruptedDataModule

__all__ = ["AdversarialDataModule", "ConditionsDataModule", "CorruptedDataModule"]
