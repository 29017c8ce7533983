"""Data modules: images in [0, 1] with labels and stable indices."""

from entres.data.base import ImageDataModule
from entres.data.batches import Batch, BatchLoader, collate, to_float
from entres.data.checks import DataError
from entres.data.folders import ImageFolderDataModule
from entres.data.hugging_face import HuggingFaceDataModule
from entres.data.imagenet import CIFAR10DataModule, ImageNetDataModule, ImagenetteDataModule
from entres.data.imagenet_c import ImageNetCDataModule
from entres.data.inspect import DataReport, check_data
from entres.data.names import dataset_name
from entres.data.photos import PhotosDataModule
from entres.data.sampling import ResumableSampler, TrainingLoader, evenly_spaced
from entres.data.sources import EvaluationDataset, ImageSource, TrainingDataset

__all__ = [
    "Batch",
    "BatchLoader",
    "CIFAR10DataModule",
    "DataError",
    "DataReport",
    "EvaluationDataset",
    "HuggingFaceDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ImageNetCDataModule",
    "ImageNetDataModule",
    "ImageSource",
    "ImagenetteDataModule",
    "PhotosDataModule",
    "ResumableSampler",
    "TrainingDataset",
    "TrainingLoader",
    "check_data",
    "collate",
    "dataset_name",
    "evenly_spaced",
    "to_float",
]
