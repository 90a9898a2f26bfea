"""Time the authors' own training, ``intercode==0.0.7`` (Rybakov et al. 2020), and keep a snapshot of every epoch.

Their trainer and their network run as published, with the parameters of their Kang notebook. The trainer calls
``train()`` of the network before the steps of an epoch and ``eval()`` after them. The clock starts and stops there, so
it includes neither our snapshots nor their evaluation of all cells after each epoch.
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from factorbench.contracts.errors import UserError
from factorbench.model.cells import dense_matrix
from intercode.linear_decoder import AutoencoderLinearDecoder, train_autoencoder
from torch import Tensor

if TYPE_CHECKING:
    from anndata import AnnData

HIDDEN = (400, 400)
DROPOUT = 0.2
LEARNING_RATE = 1e-3
BATCH_SIZE = 62
LAMBDAS = {"lambda0": 0.1, "lambda1": 0.93, "lambda2": 0.43, "lambda3": 0.57}


class WatchedAutoencoder(AutoencoderLinearDecoder):
    """The authors' network, which records its training.

    Attributes
    ----------
    mean
        Mean expression of each gene in the training data, shape (n_genes,).
    seconds
        Seconds spent in training steps up to the end of each epoch.
    snapshots
        The network's parameters and buffers at the end of each epoch.
    """

    def __init__(self, mean: np.ndarray, n_sets: int) -> None:
        super().__init__(len(mean), n_sets, mid_layers_size=HIDDEN[0], dropout_rate=DROPOUT)
        self.mean = mean
        self.seconds: list[float] = []
        self.snapshots: list[dict[str, Tensor]] = []

    def train(self, mode: bool = True) -> WatchedAutoencoder:
        """Switch between training and evaluation; start or stop the clock."""
        if self.training and not mode:
            epoch = time.perf_counter() - self._started
            self.seconds.append(epoch + (self.seconds[-1] if self.seconds else 0))
            self.snapshots.append({name: value.clone() for name, value in self.state_dict().items()})
        super().train(mode)
        if mode:
            self._started = time.perf_counter()
        return self

    def scores(self, data: AnnData, epoch: int = -1) -> np.ndarray:
        """Return scores in evaluation mode after an epoch (from 0; by default the last), cells x factors."""
        expression = torch.from_numpy(dense_matrix(data.X) - self.mean)
        with torch.no_grad():
            return torch.func.functional_call(self, self.snapshots[epoch], (expression,))[0].numpy()

    def loadings(self, epoch: int = -1) -> np.ndarray:
        """Return W after an epoch (from 0; by default the last), genes x factors."""
        return self.snapshots[epoch]["decoder.weight_dict.annotated"].numpy()


def train_peer(data: AnnData, seed: int, epochs: int = 30) -> WatchedAutoencoder:
    """Train the authors' autoencoder with their parameters; genes are centred before the clock starts.

    ``seed`` is that of torch's and numpy's global generators: initial weights, dropout, order of cells.

    Raises
    ------
    UserError
        If the last batch of an epoch would be a single cell: their BatchNorm fails on it.
    """
    if data.n_obs % BATCH_SIZE == 1:
        raise UserError(
            f"bench: with {data.n_obs} cells in batches of {BATCH_SIZE}, the last batch is a single cell, on which "
            f"intercode fails; use data with one cell more or less"
        )
    from anndata import AnnData

    expression = dense_matrix(data.X)
    mean = expression.mean(axis=0, dtype=np.float64).astype(np.float32)
    mask = np.asarray(data.varm["mask"])
    # Their trainer expects thresholds of a step, as their class Intercode computes them, not lambdas.
    thresholds = {name: LAMBDAS[name] * LEARNING_RATE for name in ("lambda1", "lambda2", "lambda3")}
    centred = AnnData(expression - mean, varm={"I": mask.astype(np.int32)})
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    network = WatchedAutoencoder(mean, mask.shape[1])
    with contextlib.redirect_stdout(io.StringIO()):
        train_autoencoder(
            centred, network, LEARNING_RATE, BATCH_SIZE, epochs, l2_reg_lambda0=LAMBDAS["lambda0"], **thresholds
        )
    return network
