"""The network of pytorch-forecasting, and the same as it serves: fixed lengths, one input, one output."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_forecasting import TemporalFusionTransformer
from pytorch_forecasting.metrics import QuantileLoss
from torch import nn
from torch.nn import functional

from levibot.errors import TrainingError
from levibot.ml.tft.forecast import HORIZON, QUANTILES, STEPS
from levibot.ml.tft.model import INPUT, OUTPUT, open_session

_STEP = "step"  # how far a bar is from the judged one: the one thing that is known of the bars ahead
_CONTINUOUS = 8  # size that each feature is raised to
_OPSET = 17
_MOST_APART = 1e-4  # of the export from the network that was trained
_SAMPLES = (1, 5)  # batch sizes that they are compared on


class _AsItIs(nn.Module):
    """The target is scaled by the row's own volatility, and stays so."""

    def forward(self, out: dict[str, Any]) -> Any:
        return out["prediction"]


def build(features: Sequence[str], *, hidden: int, heads: int, dropout: float, rate: float) -> Any:
    """A network that was not trained yet.

    Parameters
    ----------
    features
        Names of what it is given of each bar.
    hidden, heads, dropout, rate
        Width, heads of attention, dropout, and rate of learning.
    """
    reals = [*features, _STEP]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its parameters hold modules, which is how it is made
        return _made(reals, hidden, heads, dropout, rate)


def _made(reals: list[str], hidden: int, heads: int, dropout: float, rate: float) -> Any:
    return TemporalFusionTransformer(
        hidden_size=hidden,
        hidden_continuous_size=_CONTINUOUS,
        attention_head_size=heads,
        dropout=dropout,
        learning_rate=rate,
        output_size=len(QUANTILES),
        loss=QuantileLoss(list(QUANTILES)),
        logging_metrics=nn.ModuleList([]),
        output_transformer=_AsItIs(),
        max_encoder_length=STEPS,
        x_reals=reals,
        time_varying_reals_encoder=reals,
        time_varying_reals_decoder=[_STEP],
    )


def inputs(rows: torch.Tensor, ahead: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scaled sequences and targets as pytorch-forecasting's networks take them.

    Parameters
    ----------
    rows
        Shape (n, `STEPS`, features).
    ahead
        Shape (n, `HORIZON`).
    """
    count, _, features = rows.shape
    steps = _steps().expand(count, -1, -1)
    unknown = rows.new_zeros(count, HORIZON, features)
    continuous = torch.cat([torch.cat([rows, unknown], dim=1), steps], dim=2)
    no_category = torch.zeros(count, STEPS + HORIZON, 0, dtype=torch.long)
    return {
        "encoder_cont": continuous[:, :STEPS],
        "decoder_cont": continuous[:, STEPS:],
        "encoder_cat": no_category[:, :STEPS],
        "decoder_cat": no_category[:, STEPS:],
        "encoder_lengths": torch.full((count,), STEPS),
        "decoder_lengths": torch.full((count,), HORIZON),
        "encoder_target": rows.new_zeros(count, STEPS),
        "decoder_target": ahead,
        "target_scale": rows.new_zeros(count, 2),
    }


def _steps() -> torch.Tensor:
    """Shape (1, `STEPS` + `HORIZON`, 1): 0 at the first bar ahead."""
    return (torch.arange(-STEPS, HORIZON, dtype=torch.float32) / STEPS)[None, :, None]


class _Selection(nn.Module):
    """All single-variable networks of a variable selection at once: one by one they are 500 small operations."""

    def __init__(self, selection: Any) -> None:
        super().__init__()
        networks = [selection.single_variable_grns[name] for name in selection.input_sizes]
        scalers = [selection.prescalers[name] for name in selection.input_sizes]
        self.selection = selection
        self.width = networks[0].output_size
        raising = networks[0].resample_norm.resample
        self._keep("raise", [scaler.weight[:, 0] for scaler in scalers], [scaler.bias for scaler in scalers])
        for name in ("fc1", "fc2", "gate_norm.glu.fc"):
            linear = [network.get_submodule(name) for network in networks]
            short = name.rpartition(".")[2]
            self._keep(short, [one.weight.T for one in linear], [one.bias for one in linear])
        for name, norms in (
            ("before", [network.resample_norm.norm for network in networks]),
            ("after", [network.gate_norm.add_norm.norm for network in networks]),
        ):
            self._keep(name, [norm.weight for norm in norms], [norm.bias for norm in norms])
        self.register_buffer("stretch", raising.interpolate(torch.eye(networks[0].input_size)))
        self.register_buffer("open", _stacked([2 * torch.sigmoid(n.resample_norm.mask) for n in networks]))

    def _keep(self, name: str, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> None:
        self.register_buffer(f"{name}_weight", _stacked(weights))
        self.register_buffer(f"{name}_bias", _stacked(biases))

    def forward(self, values: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Shape (n, steps, variables) → (n, steps, width)."""
        steps, variables = values.shape[1], values.shape[2]
        raised = values.reshape(-1, variables).T[..., None] * self.raise_weight + self.raise_bias
        skip = self._normed((raised @ self.stretch) * self.open, "before")
        hidden = functional.elu(raised @ self.fc1_weight + self.fc1_bias) @ self.fc2_weight + self.fc2_bias
        gated = functional.glu(hidden @ self.fc_weight + self.fc_bias, dim=-1)
        each = self._normed(gated + skip, "after")
        flat = raised.permute(1, 0, 2).reshape(-1, steps, variables * raised.shape[2])
        shares = self.selection.softmax(self.selection.flattened_grn(flat, context))
        weights = shares.reshape(-1, variables).T[..., None]
        return (each * weights).sum(dim=0).reshape(-1, steps, self.width)

    def _normed(self, values: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
        return functional.layer_norm(values, (self.width,)) * weight + bias


def _stacked(parts: list[torch.Tensor]) -> torch.Tensor:
    """One matrix of each variable; of vectors, matrices of one row."""
    whole = torch.stack([part.detach() for part in parts])
    return (whole if whole.ndim == 3 else whole[:, None]).contiguous()


class ServingNetwork(nn.Module):
    """The forward pass of a trained network where every sequence has the same length.

    The original packs sequences by their lengths, takes a dictionary, and branches on both: none of that can
    be exported.

    Parameters
    ----------
    network
        Trained, on the CPU.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.encoder_selection = _Selection(network.encoder_variable_selection)
        ahead = torch.arange(HORIZON)
        causal = torch.cat([torch.zeros(HORIZON, STEPS, dtype=torch.bool), ahead >= ahead[:, None]], dim=1)
        self.register_buffer("mask", causal[None])
        self.register_buffer("steps", _steps())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scaled sequences, shape (n, `STEPS`, features) → (n, `HORIZON`, quantiles)."""
        network = self.network
        static = torch.zeros_like(rows[:, 0, :1]).expand(-1, network.hparams.hidden_size)
        context = network.static_context_variable_selection(static)[:, None]
        steps = torch.zeros_like(rows[:, :1, :1]) + self.steps
        past = self.encoder_selection(torch.cat([rows, steps[:, :STEPS]], dim=2), context.expand(-1, STEPS, -1))
        ahead, _ = network.decoder_variable_selection({_STEP: steps[:, STEPS:]}, context.expand(-1, HORIZON, -1))
        begin = (
            network.static_context_initial_hidden_lstm(static)[None],
            network.static_context_initial_cell_lstm(static)[None],
        )
        local_past, state = nn.LSTM.forward(network.lstm_encoder, past, begin)
        local_ahead, _ = nn.LSTM.forward(network.lstm_decoder, ahead, state)
        local = torch.cat(
            [
                network.post_lstm_add_norm_encoder(network.post_lstm_gate_encoder(local_past), past),
                network.post_lstm_add_norm_decoder(network.post_lstm_gate_decoder(local_ahead), ahead),
            ],
            dim=1,
        )
        enrichment = network.static_context_enrichment(static)[:, None].expand(-1, STEPS + HORIZON, -1)
        rich = network.static_enrichment(local, enrichment)
        attended, _ = network.multihead_attn(q=rich[:, STEPS:], k=rich, v=rich, mask=self.mask)
        attended = network.pos_wise_ff(network.post_attn_gate_norm(attended, rich[:, STEPS:]))
        return network.output_layer(network.pre_output_gate_norm(attended, local[:, STEPS:]))


def export(network: Any, features: int) -> bytes:
    """The trained network as ONNX, checked against itself.

    Parameters
    ----------
    network
        Trained; it is moved to the CPU.
    features
        How many it is given of each bar.

    Raises
    ------
    TrainingError
        If what would serve forecasts anything else than what was trained.
    """
    network.eval().cpu()
    serving = ServingNetwork(network).eval()
    draw = torch.Generator().manual_seed(1)
    content = _to_onnx(serving, torch.randn(max(_SAMPLES), STEPS, features, generator=draw))
    for count in _SAMPLES:
        rows = torch.randn(count, STEPS, features, generator=draw)
        with torch.no_grad():
            expected = network(inputs(rows, rows.new_zeros(count, HORIZON)))["prediction"]
        apart = float((torch.from_numpy(_run(content, rows.numpy())) - expected).abs().max())
        if not apart <= _MOST_APART:
            raise TrainingError(
                f"the exported network differs from the trained one by {apart:.2g}, expected {_MOST_APART:g} or "
                "less; the installed PyTorch or pytorch-forecasting computes otherwise than this LeviBot knows: "
                "install the versions of requirements/tft.txt"
            )
    return content


def _to_onnx(serving: nn.Module, example: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's age, and of shapes that are constants on purpose
        torch.onnx.export(
            serving,
            (example,),
            buffer,
            dynamo=False,  # the newer one takes minutes for a graph ten times as large, which is slower
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            opset_version=_OPSET,
        )
    return buffer.getvalue()


def _run(content: bytes, rows: Any) -> Any:
    return open_session(content).run([OUTPUT], {INPUT: rows})[0]
