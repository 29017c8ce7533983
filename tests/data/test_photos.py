"""The embedded photographs: real, offline, and with disjoint training and test pixels."""

import socket

import numpy as np
import pytest
import torch
from torch import Tensor

from entres.data import DataError, PhotosDataModule
from entres.data.photos import PhotoSource, load_photos


def all_images(source: PhotoSource) -> Tensor:
    return torch.stack([source.image(index) for index in range(len(source))])


def used(source: PhotoSource, cells: bool) -> list[np.ndarray]:
    """Which pixels of every photo the crops, or the cells they may move in, cover."""
    masks = [np.zeros(photo.shape[:2], dtype=bool) for photo in source.photos]
    for crop in source.crops:
        left, top, right, bottom = (
            crop.cell
            if cells
            else (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
        )
        masks[crop.label][top:bottom, left:right] = True
    return masks


@pytest.mark.parametrize("image_size", [32, 64, 100, 224])
def test_no_pixel_is_shared_by_training_and_test(image_size: int) -> None:
    data = PhotosDataModule(image_size)
    train, test = data.training_source(), data.evaluation_source()
    for train_mask, test_mask in zip(used(train, True), used(test, False), strict=True):
        assert train_mask.any()
        assert test_mask.any()
        assert not (train_mask & test_mask).any()


@pytest.mark.parametrize("image_size", [32, 64, 224])
def test_augmented_images_do_not_depend_on_pixels_outside_the_training_cells(
    image_size: int,
) -> None:
    data = PhotosDataModule(image_size, train_per_class=12)
    source = data.training_source()
    painted = [
        np.where(mask[..., None], photo, 255 - photo)
        for photo, mask in zip(source.photos, used(source, True), strict=True)
    ]
    other = PhotoSource(painted, source.crops, image_size, augment=True)
    torch.manual_seed(0)
    images = all_images(source)
    torch.manual_seed(0)
    assert torch.equal(all_images(other), images)
    torch.manual_seed(1)
    assert not torch.equal(all_images(other), images)


def test_photos_come_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    photos = load_photos.__wrapped__()
    assert len(photos) == PhotosDataModule().num_classes >= 8
    for photo in photos:
        assert photo.dtype == np.uint8
        assert photo.shape[2] == 3
        assert np.abs(np.diff(photo.astype(int), axis=2)).mean() > 3, "a photo in colour"


def test_images_have_content_and_every_class_its_share() -> None:
    data = PhotosDataModule()
    for source, count in ((data.training_source(), 80), (data.evaluation_source(), 20)):
        images = all_images(source).float()
        assert images.shape == (8 * count, 3, 64, 64)
        assert images.flatten(1).std(1).min() > 1, "no constant image"
        assert np.bincount(source.labels).tolist() == [count] * 8
    assert data.present_classes == list(range(8))
    assert data.class_names[1] == "cat"
    assert len(all_images(data.evaluation_source()).unique(dim=0)) == 160, "no image twice"


def test_test_images_are_the_same_for_every_seed_and_training_images_are_not() -> None:
    first, second = PhotosDataModule(seed=1), PhotosDataModule(seed=2)
    assert torch.equal(
        all_images(first.evaluation_source()), all_images(second.evaluation_source())
    )
    assert torch.equal(
        first.train_dataset[(3, 0)][0], PhotosDataModule(seed=1).train_dataset[(3, 0)][0]
    )
    assert not torch.equal(first.train_dataset[(3, 0)][0], second.train_dataset[(3, 0)][0])
    plain = PhotosDataModule(augment=False).train_dataset
    assert torch.equal(plain[(3, 0)][0], plain[(3, 1)][0])


def test_class_can_be_told_from_other_regions_of_the_photo() -> None:
    """The task is learnable: nearest mean colour alone is far better than chance (1/8)."""
    data = PhotosDataModule()
    train, test = data.training_source(), data.evaluation_source()
    colours = [all_images(source).float().mean((2, 3)) for source in (train, test)]
    nearest = torch.cdist(colours[1], colours[0]).argmin(1).numpy()
    assert (train.labels[nearest] == test.labels).mean() > 0.4


def test_too_large_an_image_size_names_the_photo() -> None:
    with pytest.raises(DataError, match=r"image_size must be <= 225 for the photo 'cat'.*got 226"):
        PhotosDataModule(226).setup()
    PhotosDataModule(225).setup()
