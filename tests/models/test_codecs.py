"""The codecs: what is coded is what is decoded, and quantization is what it is asked to be."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_samples import images, spread_bottleneck
from torch import Tensor, nn

from entres.bitstream import Bitstream, BitstreamError
from entres.functional import bits_from_likelihoods
from entres.models import Codec, FactorizedPrior, MeanScaleHyperprior, StaleTablesError
from entres.models.quantization import quantize

CODECS = [FactorizedPrior, MeanScaleHyperprior]
MakeCodec = Callable[..., Codec]


def make_codec(cls: MakeCodec, seed: int = 0) -> Codec:
    torch.manual_seed(seed)
    codec = cls(8, (3, 12, 10, 6), (6, 16, 8, 8))
    spread_bottleneck(codec, torch.Generator().manual_seed(seed))
    codec.update()
    return codec.eval()


@pytest.fixture(params=CODECS, ids=lambda cls: cls.short_name)
def codec(request: pytest.FixtureRequest) -> Codec:
    return make_codec(request.param)


def batch(count: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    return images(count, height, width, seed) * 4 - 2


def wire(streams: list[Bitstream]) -> list[Bitstream]:
    return [Bitstream.from_bytes(stream.to_bytes()) for stream in streams]


# --- real bitstreams -----------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("count", "height", "width"),
    [(1, 32, 32), (7, 32, 32), (1, 61, 97), (7, 61, 97), (2, 96, 96), (1, 224, 224)],
)
def test_what_is_decoded_is_what_the_round_path_gives(
    codec: Codec, count: int, height: int, width: int, memory_format: torch.memory_format
) -> None:
    codec = codec.to(memory_format=memory_format)  # type: ignore[call-overload]
    x = batch(count, height, width).contiguous(memory_format=memory_format)
    decoded = codec.decompress(wire(codec.compress(x)))
    assert decoded.shape == (count, 8, -(-height // 4), -(-width // 4))
    assert torch.equal(decoded, codec(x, "round").features)
    assert torch.equal(codec.decode_latents(codec.compress(x)), codec.plan(x).latents["y"])


def test_an_image_is_decoded_alone_as_in_its_batch(codec: Codec) -> None:
    # The batch on one side of the link is not the batch on the other.
    x = batch(5, 61, 97)
    streams = codec.compress(x)
    features = codec(x, "round").features
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        torch.testing.assert_close(
            codec.decompress(streams[part]), features[part], rtol=1e-4, atol=1e-4
        )


def test_kernels_that_round_otherwise_for_another_batch_or_layout_do_no_harm(
    codec: Codec,
) -> None:
    # Which kernel a convolution takes hangs on the batch and the memory layout, and so does its
    # rounding: exaggerate it where sender and receiver must agree.
    def rounds_otherwise(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        (x,) = inputs
        batch_of_one = len(x) == 1 or module is codec.g_s
        return output + 0.3 * (not batch_of_one) + 0.3 * (not x.is_contiguous())

    codec.g_s.register_forward_hook(rounds_otherwise)
    if isinstance(codec, MeanScaleHyperprior):
        codec.h_s.register_forward_hook(rounds_otherwise)
    codec = codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = batch(3).contiguous(memory_format=torch.channels_last)
    streams = codec.compress(x)
    assert torch.equal(codec.decompress(streams), codec(x, "round").features)
    assert torch.equal(codec.decode_latents(streams), codec.plan(x).latents["y"])


def test_the_estimated_rate_is_the_coded_size(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = batch(3, 96, 96)
    if isinstance(codec, MeanScaleHyperprior):
        # An improbable symbol costs otherwise than its likelihood says, and scales that come from
        # random weights do not know y: let y be what they say it is.
        with torch.no_grad():
            y = codec.analyse(x)
            z = codec.h_a(y)
            z_hat, _ = codec._bottleneck(z, "round", None)
            scales, means = codec._gaussians(z_hat, y.shape[-2:])
            normal = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
            y = means + scales.clamp(min=0.11) * normal
        monkeypatch.setattr(codec, "analyse", lambda _: y)
        monkeypatch.setattr(codec, "_hyper_latent", lambda _: z)
    plan = codec.plan(x)
    estimate = bits_from_likelihoods(codec.likelihoods(plan).values())
    torch.testing.assert_close(estimate, codec(x, "round").bits)
    for stream, bits in zip(codec.compress(x), estimate.tolist(), strict=True):
        tolerance = 0.02 * bits / 8 + 8 * len(stream.strings)
        assert abs(stream.payload_bytes - bits / 8) < tolerance


def test_what_travels_is_not_trivial(codec: Codec) -> None:
    # Without this, the tests above could pass on zeros.
    symbols = codec.plan(batch(1)).symbols(0)
    for values, tables in zip(symbols.values, symbols.tables, strict=True):
        assert len(set(values.ravel().tolist())) > 5
        assert len(set(tables.ravel().tolist())) > 5


def test_streams_of_another_student_are_refused(codec: Codec) -> None:
    other = make_codec(type(codec), seed=1)
    with pytest.raises(BitstreamError, match="coded with other tables"):
        codec.decompress(other.compress(batch()))


def test_streams_of_another_codec_are_refused() -> None:
    first, second = (make_codec(cls) for cls in CODECS)
    with pytest.raises(BitstreamError, match=r"codec MEAN_SCALE_HYPERPRIOR, .* FACTORIZED_PRIOR"):
        first.decompress(second.compress(batch()))


def test_strings_that_are_no_strings_are_refused(codec: Codec) -> None:
    (good,) = codec.compress(batch(1))
    for string in (b"", b"1234567", bytes(1 << 20)):
        bad = Bitstream(
            good.codec, good.latent_shape, good.fingerprint, (string,) * good.codec.strings
        )
        with pytest.raises(BitstreamError, match="coded string"):
            codec.decompress(wire([bad]))


def test_a_batch_of_streams_must_be_one(codec: Codec) -> None:
    with pytest.raises(ValueError, match="at least one stream"):
        codec.decompress([])
    with pytest.raises(ValueError, match="one latent shape"):
        codec.decompress([*codec.compress(batch(1, 64, 64)), *codec.compress(batch(1, 64, 96))])


def test_an_image_that_is_not_finite_is_refused(codec: Codec) -> None:
    # compressai's encoder would never return.
    x = batch(1)
    x[0, 0, 20, 20] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        codec.compress(x)


def test_table_choice_is_that_of_compressai() -> None:
    codec = make_codec(MeanScaleHyperprior)
    assert isinstance(codec, MeanScaleHyperprior)
    table = codec.gaussian_conditional.scale_table
    scales = torch.cat(
        [
            table,
            torch.nextafter(table, torch.zeros(())),
            torch.nextafter(table, torch.full((), torch.inf)),
            torch.tensor([-3.0, 0.0, 0.05, 0.11, 300.0, 1e9]),
            torch.rand(1000, generator=torch.Generator().manual_seed(0)).mul(8).sub(3).exp(),
        ]
    )
    assert torch.equal(codec._y_tables(scales), codec.gaussian_conditional.build_indexes(scales))


# --- tables --------------------------------------------------------------------------------------


def change(codec: Codec) -> None:
    with torch.no_grad():
        codec.entropy_bottleneck.biases[0].add_(0.5)


def test_stale_tables_refuse_to_code(codec: Codec) -> None:
    streams = codec.compress(batch())
    change(codec)
    assert codec.tables_are_stale()
    with pytest.raises(StaleTablesError, match=r"call update\(\)"):
        codec.compress(batch())
    with pytest.raises(StaleTablesError):
        codec.decompress(streams)
    codec.update()
    assert torch.equal(codec.decompress(codec.compress(batch())), codec(batch(), "round").features)


def test_a_fresh_codec_refuses_to_code_until_it_leaves_training() -> None:
    for cls in CODECS:
        codec = cls(8, (3, 12, 10, 6), (6, 16, 8, 8))
        with pytest.raises(StaleTablesError):
            codec.compress(batch())
        assert len(codec.eval().compress(batch())) == 2


def test_leaving_training_makes_the_tables_of_the_new_parameters(codec: Codec) -> None:
    before = codec.entropy_bottleneck.quantized_cdf.clone()
    optimizer = torch.optim.Adam(codec.parameters(), 0.05)
    codec.train()
    for _ in range(3):
        optimizer.zero_grad()
        (codec(batch(), "noise").bits.sum() + codec.auxiliary_loss()).backward()
        optimizer.step()
    codec.eval()
    assert not codec.tables_are_stale()
    after = codec.entropy_bottleneck.quantized_cdf
    assert after.shape != before.shape or not torch.equal(after, before)
    x = batch()
    assert torch.equal(codec.decompress(codec.compress(x)), codec(x, "round").features)


def test_update_under_inference_mode_leaves_a_codec_that_can_be_trained(codec: Codec) -> None:
    change(codec)
    with torch.inference_mode():
        codec.update()
    assert not any(buffer.is_inference() for buffer in codec.buffers())
    codec.train()
    codec(batch(), "noise").bits.sum().backward()


def test_a_state_made_after_update_loads_into_a_fresh_codec(codec: Codec) -> None:
    fresh = type(codec)(8, (3, 12, 10, 6), (6, 16, 8, 8))  # type: ignore[call-arg, arg-type]
    fresh.load_state_dict(copy.deepcopy(codec.state_dict()))
    # Only the loader knows whether tables and parameters belong together.
    with pytest.raises(StaleTablesError):
        fresh.compress(batch())
    fresh.accept_tables()
    fresh.eval()
    assert fresh.compress(batch()) == codec.compress(batch())


# --- quantization --------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", ["noise", "straight_through"])
def test_relaxed_quantization_has_a_gradient_to_the_image(codec: Codec, quantization: Any) -> None:
    for objective in ("bits", "features"):
        x = batch().requires_grad_()
        getattr(codec(x, quantization), objective).sum().backward()
        assert x.grad is not None
        per_image = x.grad.flatten(1).norm(dim=1)
        assert (per_image > 0).all()
        assert torch.isfinite(x.grad).all()


def test_rounding_has_no_gradient() -> None:
    codec = make_codec(FactorizedPrior)
    x = batch().requires_grad_()
    codec(x, "round").features.sum().backward()
    assert x.grad is None or not x.grad.any()
    # In the hyperprior the only way left to the bits of y is past its latent, by the scales, and
    # those come from a rounded z.
    codec = make_codec(MeanScaleHyperprior)
    likelihoods = codec(x, "round").likelihoods
    (gradient,) = torch.autograd.grad(likelihoods["z"].log().sum(), x, allow_unused=True)
    assert gradient is None or not gradient.any()


def test_straight_through_computes_what_rounding_computes(codec: Codec) -> None:
    rounded, through = codec(batch(), "round"), codec(batch(), "straight_through")
    torch.testing.assert_close(through.features, rounded.features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(through.bits, rounded.bits, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("quantization", ["noise", "straight_through", "round"])
def test_quantization_does_not_hang_on_train_or_eval(codec: Codec, quantization: Any) -> None:
    outputs = []
    for mode in (True, False):
        codec.train(mode)
        outputs.append(codec(batch(), quantization, torch.Generator().manual_seed(0)))
    assert torch.equal(outputs[0].features, outputs[1].features)
    assert torch.equal(outputs[0].bits, outputs[1].bits)


def test_noise_is_uniform_and_of_the_generator(codec: Codec) -> None:
    before = torch.get_rng_state()
    first, again, other = (
        codec(batch(), "noise", torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.bits, again.bits)
    assert not torch.equal(first.features, other.features)
    y = torch.zeros(100_000)
    noise = quantize(y, "noise", generator=torch.Generator().manual_seed(0))
    assert noise.abs().max() <= 0.5
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.02)


def test_rounding_is_centred_on_the_means() -> None:
    x = torch.tensor([0.2, 0.8, -1.4])
    means = torch.tensor([0.3, 0.3, 0.3])
    rounded = quantize(x, "round", means)
    torch.testing.assert_close(rounded, torch.tensor([0.3, 0.3, -1.7]))
    torch.testing.assert_close(quantize(x, "straight_through", means), rounded)
    assert quantize(x, "round").tolist() == [0.0, 1.0, -1.0]


def test_an_unknown_quantization_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="one of noise, straight_through, round, got 'ste'"):
        codec(batch(), "ste")


def test_likelihoods_are_those_of_compressai(codec: Codec) -> None:
    x = batch()
    output = codec(x, "round")
    y = codec.analyse(x)
    if isinstance(codec, MeanScaleHyperprior):
        z_hat, z = codec.entropy_bottleneck.eval()(codec.h_a(y))
        scales, means = codec.h_s(z_hat).chunk(2, 1)
        _, y_likelihoods = codec.gaussian_conditional.eval()(y, scales, means)
        torch.testing.assert_close(output.likelihoods["z"], z)
        torch.testing.assert_close(output.likelihoods["y"], y_likelihoods, rtol=1e-3, atol=1e-6)
    else:
        _, expected = codec.entropy_bottleneck.eval()(y)
        torch.testing.assert_close(output.likelihoods["y"], expected)


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 3, 31, 64), (1, 3, 64, 31), (1, 1, 64, 64), (3, 64, 64)], ids=str
)
def test_what_is_no_batch_of_images_is_refused(codec: Codec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sides of 32 px or more"):
        codec(torch.zeros(shape), "round")


@pytest.mark.parametrize("cls", CODECS)
@pytest.mark.parametrize(
    ("analysis", "synthesis", "message"),
    [
        ((4, 12, 10, 6), (6, 16, 8, 8), "must begin with 3"),
        ((3, 12, 10, 6), (7, 16, 8, 8), "widths do not fit"),
        ((3, 12, 10, 6), (6, 16, 8, 9), "the 8 channels of the split"),
        ((3, 12, 6), (6, 16, 8, 8), "analysis_widths must be four positive"),
        ((3, 12, 10, 6), (6, 0, 8, 8), "synthesis_widths must be four positive"),
    ],
)
def test_widths_that_do_not_fit_are_refused(
    cls: MakeCodec, analysis: tuple[int, ...], synthesis: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(8, analysis, synthesis)


def test_output_statistics_shift_and_scale_the_features(codec: Codec) -> None:
    plain = codec(batch(), "round").features
    mean, std = torch.arange(8.0), torch.arange(1.0, 9.0)
    codec.set_output_statistics(mean, std)
    expected = plain * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(codec(batch(), "round").features, expected)
    assert torch.equal(codec.decompress(codec.compress(batch())), codec(batch(), "round").features)


def test_the_rate_is_in_full_precision_under_autocast(codec: Codec) -> None:
    # Mixed precision may round the latent of the forward pass, but never its likelihoods.
    x = batch(1)
    with torch.autocast("cpu", torch.bfloat16):
        output = codec(x, "round")
    assert all(p.dtype == torch.float32 for p in output.likelihoods.values())
    assert torch.allclose(output.bits, codec(x, "round").bits, rtol=0.02)


# --- the same stream everywhere ------------------------------------------------------------------


def test_a_stream_is_the_same_under_autocast(codec: Codec) -> None:
    x = batch(2)
    streams = codec.compress(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.compress(x) == streams
        latents = codec.decode_latents(streams)
    assert torch.equal(latents, codec.decode_latents(streams))


def latents_of_other_side(codec: Codec, streams: list[Bitstream], way: str) -> Tensor:
    """The latents as a receiver of another kind decodes them."""
    other = copy.deepcopy(codec)
    if way == "channels_last":
        other = other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return other.decode_latents(streams)
    if way == "one by one":
        return torch.cat([other.decode_latents([stream]) for stream in streams])
    if way == "bfloat16 products":
        torch.backends.mkldnn.conv.fp32_precision = "bf16"  # type: ignore[attr-defined]
        try:
            return other.decode_latents(streams)
        finally:
            torch.backends.mkldnn.conv.fp32_precision = "none"  # type: ignore[attr-defined]
    assert way == "two threads"
    torch.set_num_threads(2)  # conftest.py sets it back
    return other.decode_latents(streams)


@pytest.mark.parametrize("side", [64, 224])
@pytest.mark.parametrize("way", ["channels_last", "one by one", "two threads", "bfloat16 products"])
def test_a_stream_decodes_to_the_same_latents_everywhere(codec: Codec, way: str, side: int) -> None:
    if way == "bfloat16 products" and not hasattr(torch.backends.mkldnn, "conv"):
        pytest.skip("this torch has no such switch")
    x = batch(8 if side == 64 else 4, side, side)
    streams = codec.compress(x)
    expected = codec.plan(x).latents["y"]
    assert torch.equal(codec.decode_latents(streams), expected)
    assert torch.equal(latents_of_other_side(codec, streams, way), expected)
    # And the other way round: what such a sender codes, a plain receiver decodes.
    other = copy.deepcopy(codec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert codec.decode_latents(other.compress(x)).shape == expected.shape


@pytest.mark.parametrize("way", ["channels_last", "one by one", "two threads"])
def test_features_of_a_stream_are_the_same_within_a_millionth(codec: Codec, way: str) -> None:
    streams = codec.compress(batch(4, 96, 96))
    expected = codec.decompress(streams)
    other = copy.deepcopy(codec)
    if way == "channels_last":
        other = other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if way == "two threads":
        torch.set_num_threads(2)  # conftest.py sets it back
    groups = [[stream] for stream in streams] if way == "one by one" else [streams]
    features = torch.cat([other.decompress(group) for group in groups])
    assert (features - expected).abs().max() <= 1e-6 * expected.abs().max()


IN_ANOTHER_PROCESS = """
import sys
import torch
from entres.bitstream import Bitstream
torch.set_num_threads(2)
codec = torch.load(sys.argv[1], weights_only=False)
streams = [Bitstream.from_bytes(data) for data in torch.load(sys.argv[2])]
torch.save(codec.decode_latents(streams), sys.argv[3])
"""


def test_a_stream_decodes_to_the_same_latents_in_another_process(
    codec: Codec, tmp_path: Path
) -> None:
    x = batch(3, 96, 96)
    streams = codec.compress(x)
    files = [str(tmp_path / name) for name in ("codec", "streams", "latents")]
    torch.save(codec, files[0])
    torch.save([stream.to_bytes() for stream in streams], files[1])
    command = [sys.executable, "-W", "ignore", "-c", IN_ANOTHER_PROCESS, *files]
    subprocess.run(command, check=True, timeout=120)
    assert torch.equal(torch.load(files[2]), codec.plan(x).latents["y"])


def near_bounds(codec: MeanScaleHyperprior, x: Tensor, flips: Sequence[int]) -> Bitstream:
    """A stream of a sender that took some scales, by nearness, on the other side of a bound."""
    plan = codec.plan(x)
    assert plan.gaussians is not None
    scales = plan.gaussians[0].flatten()
    bounds = codec.gaussian_conditional.scale_table[:-1]
    distance, bound = (scales[:, None] / bounds - 1).abs().min(1)
    tables = plan.tables[0].flatten().clone()
    for place in distance.argsort()[list(flips)].tolist():
        tables[place] = 2 * bound[place] + 1 - tables[place]
    turned = replace(plan, tables=(tables.view_as(plan.tables[0]), plan.tables[1]))
    symbols = turned.symbols(0)
    pairs = zip(codec.coders(), symbols.values, symbols.tables, strict=True)
    return codec.bitstream(symbols, [coder.encode(v, t) for coder, v, t in pairs])


@pytest.mark.parametrize("flips", [[0], [1], [0, 2], [0, 1, 3, 7]], ids=str)
def test_a_sender_that_rounds_otherwise_is_understood(
    flips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = make_codec(MeanScaleHyperprior)
    assert isinstance(codec, MeanScaleHyperprior)
    x = batch(1, 96, 96)
    stream = near_bounds(codec, x, flips)
    assert stream.fingerprint != codec.compress(x)[0].fingerprint
    # Few scales of so small an image lie as near as rounding reaches.
    monkeypatch.setattr("entres.models.codecs.ROUNDING", 0.05)
    assert torch.equal(codec.decode_latents([stream]), codec.plan(x).latents["y"])


def test_a_sender_that_rounds_otherwise_at_too_many_places_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = make_codec(MeanScaleHyperprior)
    assert isinstance(codec, MeanScaleHyperprior)
    monkeypatch.setattr("entres.models.codecs.ROUNDING", 0.05)
    stream = near_bounds(codec, batch(1, 96, 96), [30])
    with pytest.raises(BitstreamError, match="rounds the hyper-synthesis otherwise"):
        codec.decode_latents([stream])


# --- exact sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 30.0, 3000.0])
def test_exact_sizes_are_those_of_the_streams(codec: Codec, scale: float) -> None:
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(scale)  # symbols out of their tables, and beyond what is kept
    plan = codec.plan(batch(4, 96, 64))
    streams = codec.compress(batch(4, 96, 64))
    sizes = codec.stream_sizes(plan)
    assert sizes.stream.tolist() == [len(stream) for stream in streams]
    assert sizes.payload.tolist() == [stream.payload_bytes for stream in streams]
    assert sizes.published.tolist() == [stream.published_bytes for stream in streams]
    largest = max(float(values.abs().max()) for values in plan.values)
    assert largest > {1.0: 2, 30.0: 40, 3000.0: 4000}[scale]


def test_a_size_that_the_coders_rounding_may_move_is_coded(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = codec.plan(batch(2))
    expected = codec.string_sizes(plan)
    monkeypatch.setattr("entres.models.entropy_coded.doubtful_bytes", lambda bits: True)
    monkeypatch.setattr("entres.models.entropy_coded.string_bytes", lambda bits: 0)
    assert torch.equal(codec.string_sizes(plan), expected)


def test_the_head_runs_nothing_of_the_server(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    def server(*arguments: object) -> None:
        raise AssertionError("the head must not do this")

    x = batch(2)
    expected = codec.compress(x)
    monkeypatch.setattr(codec.g_s, "forward", server)
    for name in ("synthesise", "likelihoods", "_bottleneck_likelihoods"):
        monkeypatch.setattr(codec, name, server)
    assert codec.compress(x) == expected


# --- far tails -----------------------------------------------------------------------------------


def test_both_tails_of_the_factorized_distribution_have_a_gradient() -> None:
    codec = make_codec(FactorizedPrior)
    medians = codec._medians()
    quantiles = codec.entropy_bottleneck.quantiles.detach()
    for end in (0, 2):  # where a tail has a mass of 1e-9: half as far again and farther
        reach = quantiles[:, 0, end][:, None, None] - medians
        for share in (0.8, 1.0, 1.2):
            x = (medians + share * reach)[None].requires_grad_()
            likelihoods = codec._bottleneck_likelihoods(x)
            assert (likelihoods > 0).all()
            # Of the likelihood itself, not of the rate: one that ascends has a gradient too.
            (gradient,) = torch.autograd.grad(likelihoods.log().sum(), x)
            # Outwards it gets less likely, on either side.
            assert (gradient * reach.sign() < 0).all(), (end, share)


def test_the_likelihood_is_the_exact_one_in_either_tail() -> None:
    codec = make_codec(FactorizedPrior)
    quantiles = codec.entropy_bottleneck.quantiles.detach()
    exact = copy.deepcopy(codec.entropy_bottleneck).double()
    for position in (0.0, 0.3, 0.6, 0.8, 0.9):
        x = torch.lerp(quantiles[:, :, 0], quantiles[:, :, 2], position)[None, :, :, None]
        expected, _, _ = exact._likelihood(x[0].double())
        given = codec._bottleneck_likelihoods(x)[0]
        torch.testing.assert_close(given.double(), expected.clamp(min=1e-9), rtol=1e-3, atol=1e-11)
