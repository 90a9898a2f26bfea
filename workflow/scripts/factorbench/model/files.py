"""A saved model: a folder with its tensors (safetensors) and all else (json). Pickle is never used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..contracts.errors import UserError
from ..contracts.files import atomic, read_json, write_json

TENSORS, RECORD = "model.safetensors", "model.json"
FORMAT = {"format": "factorbench interpretable autoencoder", "version": 3}


def write_model(folder: str | Path, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write ``tensors``, then ``record``; each file appears only when it is complete."""
    folder = Path(folder)
    with atomic(folder / TENSORS) as part:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part)
    write_json(folder / RECORD, FORMAT | record)


def read_model(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_model` wrote; raise `UserError` if a file is missing, damaged or of another format."""
    path = Path(folder) / RECORD
    try:
        record = read_json(path)
        if not isinstance(record, dict) or record.get("format") != FORMAT["format"]:
            raise UserError(f"{path}: this is not a saved autoencoder")
        if record["version"] != FORMAT["version"]:
            raise UserError(
                f"{path}: format version {record['version']}, but this program reads {FORMAT['version']}; fit again"
            )
        path = Path(folder) / TENSORS
        return record, load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found; a saved model is a folder with {RECORD} and {TENSORS}") from error
    except (ValueError, SafetensorError) as error:  # ValueError: no json, or no text
        raise UserError(f"{path}: truncated or damaged ({error}); save the model again") from error
