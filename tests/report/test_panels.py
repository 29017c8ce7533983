"""Panels of many students stand below each other, and share their axes."""

from __future__ import annotations

import pytest

from entres.report.panels import ACROSS, columns


@pytest.mark.parametrize("count", [1, ACROSS, 2 * ACROSS - 1])
def test_a_page_can_show_all_students(count: int) -> None:
    figure, panels = columns(count)
    assert panels.shape == (2, count)
    assert len(figure.axes) == 2 * count
    assert figure.get_figwidth() <= columns(ACROSS)[0].get_figwidth()
    figure.draw_without_rendering()
    boxes = [[axes.get_position() for axes in row] for row in panels]
    for number, (size, accuracy) in enumerate(zip(*boxes, strict=True)):
        assert size.y0 > accuracy.y1  # of one student one above the other
        assert size.x0 == pytest.approx(accuracy.x0, abs=1e-3)
        if number >= ACROSS:
            assert boxes[1][number - ACROSS].y0 > size.y1
    for row in panels:
        row[0].set_ylim(0, 7)
        row[0].set_xlim(1, 5)
        assert {axes.get_ylim() for axes in row} == {(0, 7)}
        assert {axes.get_xlim() for axes in row} == {(1, 5)}
    panels[0, 0].set_ylim(0, 9)
    assert panels[1, 0].get_ylim() == (0, 7)  # sizes and accuracies are no one axis
