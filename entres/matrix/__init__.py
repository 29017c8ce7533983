"""Everything that a paper needs as one declarative matrix of cells, and what runs it."""

from entres.matrix.cells import Cell, Matrix, MatrixError, read_matrix
from entres.matrix.stamps import Stamp, read_stamps

__all__ = ["Cell", "Matrix", "MatrixError", "Stamp", "read_matrix", "read_stamps"]
