"""Our recipe `authors` against the authors' package: 50 steps with equal initial weights, batches and dropout masks."""

import anndata
import numpy as np
import pytest
import torch
from factorbench.contracts.budget import Budget
from factorbench.model import prox, training
from factorbench.model.cells import DenseCells, batch_sizes
from factorbench.model.network import Network
from factorbench.model.params import check_params
from intercode import linear_decoder as authors

N_CELLS, N_GENES, N_SETS, BATCH, STEPS = 620, 80, 12, 62, 50
LAMBDAS = {"lambda0": 0.1, "lambda1": 0.93, "lambda2": 0.43, "lambda3": 0.57}


def planted_matrix(generator):
    scores = torch.randn(N_CELLS, 5, generator=generator)
    Y = scores @ torch.randn(5, N_GENES, generator=generator) + 0.5 * torch.randn(N_CELLS, N_GENES, generator=generator)
    return Y - Y.mean(dim=0)


def copy_weights(ours: Network, theirs: torch.nn.Module) -> None:
    """Give ``theirs`` the weights of ``ours``, and biases of zero before BatchNorm, where ours has none."""
    with torch.no_grad():
        for mine, other in zip(ours.encoder, theirs.encoder, strict=True):
            state = mine.state_dict()
            if isinstance(other, torch.nn.Linear) and "bias" not in state:
                state["bias"] = torch.zeros_like(other.bias)
            other.load_state_dict(state)
        blocks = theirs.decoder.weight_dict
        sizes = [p.shape[1] for p in blocks.values()]
        for block, mine in zip(blocks.values(), ours.loadings.split(sizes, dim=1), strict=True):
            block.copy_(mine)


@pytest.mark.parametrize("dropout", [0.2, 0.0])
@pytest.mark.parametrize("kinds", [(N_SETS, 0, 0), (N_SETS, 3, 2)], ids=["annotated", "annotated+sparse+dense"])
def test_fifty_steps_equal_the_authors(kinds, dropout, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    Y = planted_matrix(generator)
    mask = torch.rand(N_GENES, N_SETS, generator=generator) < 0.2
    epochs = STEPS * BATCH // N_CELLS
    # The learning rate is large enough to set many weights to zero and to switch factors off within 50 steps.
    given = {"recipe": "authors", "learning_rate": 1e-2, "epochs": epochs, "min_updates": 0}
    params = check_params({**LAMBDAS, **given, "n_sparse": kinds[1], "n_dense": kinds[2]})
    torch.manual_seed(0)
    ours = Network(N_GENES, sum(kinds), [40, 40], dropout)
    theirs = authors.AutoencoderLinearDecoder(N_GENES, *kinds, mid_layers_size=40, dropout_rate=dropout)
    copy_weights(ours, theirs)
    start = ours.loadings.detach().clone()

    weights = prox.penalty_weights(mask, params)
    torch.manual_seed(7)
    training.train(ours, DenseCells(Y), weights, ~mask, params, Budget())

    def shuffled(n_cells, size):
        return [rows.numpy() for rows in torch.randperm(n_cells).split(batch_sizes(n_cells, size))]

    # The authors draw batches with numpy. Draw them as ours are drawn, with the generator that dropout uses too.
    monkeypatch.setattr(authors, "index_iter", shuffled)
    data = anndata.AnnData(Y.numpy())
    data.varm["I"] = mask.numpy().astype(np.int32)
    torch.manual_seed(7)
    eta = params["learning_rate"]
    thresholds = {name: LAMBDAS[name] * eta for name in ("lambda1", "lambda2", "lambda3")}
    authors.train_autoencoder(data, theirs, eta, BATCH, epochs, l2_reg_lambda0=LAMBDAS["lambda0"], **thresholds)

    W = torch.cat(list(theirs.decoder.weight_dict.values()), dim=1)
    pairs = {"W": (ours.loadings, W)}
    for i, (mine, other) in enumerate(zip(ours.encoder, theirs.encoder, strict=True)):
        for name, parameter in mine.named_parameters():
            pairs[f"encoder.{i}.{name}"] = (parameter, other.get_parameter(name))
    for name, (mine, other) in pairs.items():
        np.testing.assert_allclose(mine.detach(), other.detach(), atol=1e-5, rtol=0, err_msg=name)
    # Rounding may put a weight on the other side of a threshold, but not more than one in a thousand.
    assert ((ours.loadings == 0) != (W == 0)).float().mean() < 1e-3
    # Otherwise the comparison would mean little: the weights moved far, and many became zero.
    assert (ours.loadings - start).abs().max() > 0.1
    assert (ours.loadings[:, :N_SETS] == 0)[~mask].float().mean() > 0.2
