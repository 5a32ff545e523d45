"""What a user may ask of serving, and what is refused in a line."""

from __future__ import annotations

import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.serve.asked import Given, Placed, Promised, model_of, rates
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.engine.defaults import defaults, names, settings_of
from simexplore.sim.serve.engine.machines import Where
from simexplore.sim.serve.engine.tuning import Shape, fitting, tuned
from simexplore.sim.serve.load.arrivals import Arrivals, Lengths, Users
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives
from simexplore.workloads.families.llm import MODELS

H100 = "nvidia/h100-sxm"


def placed(arch: str = H100, model: str = "llama-3-8b", **more: object) -> Deployment:
    asked = {"params": {}, "settings": {}, **more}
    load = [Request(0.0, 100, 10), Request(1.0, 50, 10)]
    (made,) = Placed(**asked).deployments(MODELS[model], load_arch(arch), [load]).values()  # type: ignore[arg-type]
    return made


def test_rates_are_one_or_several_or_a_range_with_both_ends() -> None:
    assert rates("2.5") == [2.5]
    assert rates("1,4,2") == [1.0, 4.0, 2.0]
    assert rates("2:10:4") == [2.0, 6.0, 10.0]
    assert rates("0.1:0.3:0.1") == pytest.approx([0.1, 0.2, 0.3])
    assert rates("2:9:4") == [2.0, 6.0]


def test_loads_of_each_kind() -> None:
    ((told, load),) = Given(rate="3", duration="2s", prompt="10:20", answer="5", burstiness="0.5", seed=4).loads()
    assert told == {"rate_per_s": 3.0}
    assert load == Arrivals(3.0, 2.0, Lengths(10, 20), Lengths(5, 5), 0.5, 4)
    ((told, load),) = Given(users="3", think="250ms").loads()
    assert (told, load) == ({"users": 3}, Users(3, 0.25, 30, Lengths(1000, 1000), Lengths(200, 200), 0))
    ((told, load),) = Given(rate="inf", requests="2", prompt="7", answer="3").loads()
    assert (told, load) == ({}, [Request(0.0, 7, 3)] * 2)


def test_promises_are_times_and_a_share() -> None:
    assert Promised("500ms", None, "20s", "0.9").objectives() == Objectives(0.5, None, 20.0, 0.9)


REFUSED = {
    "nothing": (Given(), "expected one of --rate, --trace and --users, found none"),
    "two": (Given(rate="1", users="2"), "found --rate and --users"),
    "rate of a word": (Given(rate="fast"), "--rate: expected a number, found 'fast'"),
    "rate of nothing": (Given(rate="0"), "above 0"),
    "negative rate": (Given(rate="-1"), "above 0"),
    "empty rate": (Given(rate=""), "--rate"),
    "two of a range": (Given(rate="1:2"), "first:last:step"),
    "four of a range": (Given(rate="1:2:3:4"), "first:last:step"),
    "a range backwards": (Given(rate="4:2:1"), "the lowest rate first"),
    "a step of nothing": (Given(rate="1:2:0"), "above 0"),
    "too many rates": (Given(rate="1:2000:1"), "at most 1,000 rates"),
    "a duration without a unit": (Given(rate="1", duration="60"), "--duration: expected"),
    "a duration of nothing": (Given(rate="1", duration="0s"), "duration: expected a positive number"),
    "a duration in bytes": (Given(rate="1", duration="60 MB"), "--duration"),
    "too many requests": (Given(rate="1e6", duration="1000s"), "at most 10,000,000 requests"),
    "burstiness of nothing": (Given(rate="1", burstiness="0"), "burstiness: expected a positive number"),
    "burstiness of a word": (Given(rate="1", burstiness="x"), "--burstiness: expected a number"),
    "a prompt of nothing": (Given(rate="1", prompt="0"), "--input: expected 1 to"),
    "a prompt of a word": (Given(rate="1", prompt="long"), "--input: expected tokens"),
    "a prompt backwards": (Given(rate="1", prompt="9:3"), "--input: expected 1 to"),
    "an answer of three": (Given(rate="1", answer="1:2:3"), "--output: expected tokens"),
    "an answer without end": (Given(rate="1", answer="999999999"), "--output: expected 1 to"),
    "users of a word": (Given(users="many"), "--users: expected an integer"),
    "no users": (Given(users="0"), "--users: expected an integer from 1"),
    "half a user": (Given(users="1.5"), "--users"),
    "fewer requests than users": (Given(users="5", requests="3"), "one a user at least"),
    "a thought of nothing": (Given(users="1", think="-1s"), "--think"),
    "requests of a word": (Given(rate="inf", requests="x"), "--requests"),
    "a duration of users": (
        Given(users="1", duration="9s"),
        "--duration: expected beside --rate only, found",
    ),
    "a duration of a trace": (Given(trace="t.csv", duration="9s"), "--requests says how many come"),
    "a duration of all at once": (Given(rate="inf", duration="9s"), "found it beside --rate inf: leave it out"),
    "bursts of users": (Given(users="1", burstiness="2"), "--burstiness: expected beside --rate only"),
    "bursts of a trace": (Given(trace="t.csv", burstiness="2"), "found it beside --trace"),
    "bursts all at once": (Given(rate="inf", burstiness="2"), "only requests at a rate have gaps"),
    "thinking at a rate": (
        Given(rate="1", think="1s"),
        "--think: expected beside --users only, found it",
    ),
    "thinking all at once": (Given(rate="inf", think="1s"), "only --users wait and think"),
    "thinking in a trace": (Given(trace="t.csv", think="1s"), "--think"),
    "requests at a rate": (
        Given(rate="1", requests="4"),
        "expected beside --rate inf, --users, --trace only",
    ),
    "prompts of a trace": (
        Given(trace="t.csv", prompt="4"),
        "expected beside --rate, --rate inf, --users only",
    ),
    "answers of a trace": (Given(trace="t.csv", answer="4"), "--output"),
    "a seed of a trace": (Given(trace="t.csv", seed=0), "nothing of a trace is drawn"),
    "a duration of no letters": (Given(rate="1", duration=""), "--duration: expected"),
    "no file": (Given(trace="/nowhere/t.csv"), "can't be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_loads_that_are_none(name: str) -> None:
    given, words = REFUSED[name]
    with pytest.raises(SimexploreError) as told:
        given.loads()
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        (Promised(ttft="500"), "--ttft: expected"),
        (Promised(tpot="soon"), "--tpot"),
        (Promised(latency="-1s"), "--latency"),
        (Promised(share="0"), "--share: expected a share"),
        (Promised(share="1.5"), "--share"),
        (Promised(share="most"), "--share: expected a number"),
    ],
)
def test_promises_that_are_none(promised: Promised, words: str) -> None:
    with pytest.raises(SimexploreError, match=words):
        promised.objectives()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"params": {"tensor_parallel": "64"}}, "has 8 GPUs in an NVLink domain"),
        ({"params": {"tensor_parallel": "3"}}, "tensor_parallel=3 must divide"),
        ({"params": {"dtype": "fp7"}}, "dtype"),
        ({"params": {"batch": "4"}}, "batch is what serving decides"),
        ({"params": {"tensor": "4"}}, "tensor_parallel"),
        ({"model": "llama-3-70b"}, "leaves no room for a KV cache: weights and activations take 14"),
        ({"pipeline": 99}, "at most 32 stages"),
        ({"settings": {"max_token": "4"}}, "did you mean 'max_tokens'"),
        ({"settings": {"max_tokens": "many"}}, "max_tokens: expected an integer"),
        ({"settings": {"max_tokens": "0"}}, "max tokens: expected at least 1"),
        ({"settings": {"chunked": "yes"}}, "chunked: expected true or false"),
        ({"settings": {"batching": "dynamic"}}, "expected continuous or static"),
        ({"settings": {"memory_share": "1.5"}}, "memory_share: expected a share"),
        ({"settings": {"reserve": "2"}}, "reserve: expected a share"),
        ({"settings": {"reserve": "1", "eviction": "swap"}}, "eviction: expected where reserve is below 1"),
        ({"settings": {"sampling_s": "-1"}}, "sampling_s: expected a number of 0 or more"),
    ],
)
def test_what_cannot_be_placed(asked: dict[str, object], words: str) -> None:
    with pytest.raises(SimexploreError) as told:
        placed(**asked)  # type: ignore[arg-type]
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "work", ["llm/llama-3-9b", "llama", "gemm(m=1)", "llm/llama-3-8b/decode", "", "hf:/nowhere/config.json"]
)
def test_works_that_are_no_model(work: str) -> None:
    with pytest.raises(SimexploreError):
        model_of(work)


def test_every_default_of_an_engine_has_a_source_and_is_a_setting() -> None:
    import json
    from importlib.resources import files

    told = json.loads((files("simexplore.sim.serve.engine") / "engines.json").read_text(encoding="utf-8"))
    assert set(told) == {"trtllm", "vllm", "sglang"}
    for entries in told.values():
        assert all(entry["source"] and {"value", "source"} <= set(entry) for entry in entries.values())
        assert set().union(*entries.values()) <= {"value", "source", "machines", "rule"}
        assert set(entries) - {"graph_sizes", "graph_most"} == {*names()} - {"batching", "eviction"}
    assert defaults("unheard of") == defaults("vllm")


def test_settings_given_take_the_place_of_defaults() -> None:
    settings, room = settings_of("sglang", {"max_tokens": "77", "overlapped": "false", "eviction": "swap"})
    assert (settings.max_tokens, settings.mixed, settings.host.overlapped, settings.eviction) == (
        77,
        False,
        False,
        "swap",
    )
    assert room == (0.88, True, False)


H100_BYTES, RTX_BYTES = 80 * 2**30, 24 * 2**30


@pytest.mark.parametrize(
    ("engine", "where", "tokens", "sequences", "largest_graph"),
    [
        ("vllm", Where("NVIDIA H100 SXM5 80 GB", H100_BYTES), 8192, 1024, 512),
        ("vllm", Where("NVIDIA A100 SXM 80 GB", H100_BYTES), 2048, 256, 512),
        ("vllm", Where("GeForce RTX 4090", RTX_BYTES, 8), 2048, 256, 512),
        ("vllm", Where("of 70 GiB", 70 * 2**30), 8192, 1024, 512),
        ("trtllm", Where("NVIDIA A100 SXM 80 GB", H100_BYTES), 8192, 2048, 128),
        ("sglang", Where("of 16 GiB", 16 * 2**30), 2048, 2048, 8),
        ("sglang", Where("GeForce RTX 4090", RTX_BYTES), 2048, 2048, 24),
        ("sglang", Where("GeForce RTX 4090", RTX_BYTES, 4), 2048, 2048, 80),
        ("sglang", Where("L40S", 48 * 2**30, 2), 4096, 2048, 32),
        ("sglang", Where("L40S", 48 * 2**30, 8), 4096, 2048, 160),
        ("sglang", Where("NVIDIA A100 SXM 80 GB", H100_BYTES, 3), 8192, 2048, 256),
        ("sglang", Where("NVIDIA H100 SXM5 80 GB", H100_BYTES, 4), 8192, 2048, 512),
        ("sglang", Where("B200", 180 * 2**30), 16384, 2048, 512),
    ],
)
def test_engines_choose_by_the_machine(
    engine: str, where: Where, tokens: int, sequences: int, largest_graph: int
) -> None:
    settings, _ = settings_of(engine, {}, where)
    assert (settings.max_tokens, settings.max_sequences) == (tokens, sequences)
    assert max(settings.graph_sizes) == largest_graph
    given, _ = settings_of(engine, {"max_tokens": "77"}, where)
    assert given.max_tokens == 77


def test_the_share_of_memory_of_sglang_is_what_its_rule_leaves() -> None:
    """On 80 GiB: 512 + 1.5 x 8192 + 2 x 256 + 128 = 13,440 of 81,920 MiB. Small steps leave 10 GiB at least there."""
    where = Where("H100", H100_BYTES)
    assert settings_of("sglang", {}, where)[1] == (0.836, True, False)
    assert settings_of("sglang", {"max_tokens": "2048"}, where)[1].memory_share == 0.875
    assert settings_of("sglang", {"memory_share": "0.5"}, where)[1].memory_share == 0.5
    # 512 + 1.5 x 2048 + 2 x 80 + 128 x 8 = 4,768 of 24,576 MiB.
    assert settings_of("sglang", {}, Where("4090", RTX_BYTES, 4, 2))[1].memory_share == 0.806
    assert settings_of("vllm", {}, where)[1] == (0.9, True, True)


def test_activations_are_in_the_share_or_beside_it() -> None:
    settings = {"memory_share": "0.5", "share_of_all": "true", "page_tokens": "1"}
    within, beside = (placed(settings={**settings, "activations_within": each}) for each in ("true", "false"))
    room = within.activation_bytes / within.token_bytes
    assert beside.pages - within.pages == pytest.approx(room, abs=1.0)


def test_the_cache_has_what_weights_and_activations_leave() -> None:
    """8.03 B parameters in 16 bits, and 128 KiB of keys and values a token, in pages of 16."""
    made = placed(
        settings={
            "memory_share": "0.5",
            "share_of_all": "true",
            "page_tokens": "16",
            "max_tokens": "1024",
            "max_sequences": "64",
        }
    )
    assert made.weight_bytes == pytest.approx(16.06e9, rel=1e-3)
    assert made.token_bytes == 2 * 32 * 8 * 128 * 2
    activations = 1024 * 2 * (3 * 14336 + 2 * 4096) + 64 * 128256 * 4
    assert made.activation_bytes == pytest.approx(activations)
    room = 0.5 * 80 * 2**30 - made.weight_bytes - activations
    assert made.pages == int(room / (made.token_bytes * 16))


def test_states_of_all_sequences_take_room_of_the_cache() -> None:
    """24 delta layers: 32 heads of 128 x 128 in fp32, and three tokens of 8,192 channels, of each of 64 sequences."""
    made = placed(model="qwen3.5-9b", settings={"max_sequences": "64", "memory_share": "0.9"})
    states = 64 * 24 * (4 * 32 * 128 * 128 + 2 * 3 * 8192)
    assert made.state_bytes == states
    assert placed(settings={"max_sequences": "64"}).state_bytes == 0
    room = made.gpu.dram.capacity_bytes - made.weight_bytes - made.activation_bytes - states
    assert made.pages == int(0.9 * room / (made.token_bytes * made.settings.page_tokens))


def test_stages_divide_weights_and_cache_and_replicas_multiply_gpus() -> None:
    one, two = placed(), placed(pipeline=2, replicas=3, prefill_replicas=1, params={"tensor_parallel": "2"})
    assert two.gpus == 2 * 2 * 4
    assert two.weight_bytes < 0.3 * one.weight_bytes
    assert two.token_bytes == one.token_bytes / 4
    prefill, decode = two.engines(two.table(100))
    assert (len(prefill), len(decode)) == (2, 6)
    assert decode[0].settings.max_sequences == one.settings.max_sequences // 2


def test_keys_and_values_go_over_nvlink_within_a_domain_and_else_over_pcie() -> None:
    inside, outside = placed(prefill_replicas=1), placed(replicas=9, prefill_replicas=1)
    links = load_arch(H100).links
    assert links.nvlink is not None
    size = 1000 * inside.token_bytes
    assert inside.handover_s(1000) == pytest.approx(links.nvlink.latency_s + size / links.nvlink.bandwidth_bytes_per_s)
    assert outside.handover_s(1000) == pytest.approx(links.pcie.latency_s + size / links.pcie.bandwidth_bytes_per_s)


def test_parameters_of_several_values_make_several_deployments() -> None:
    asked = Placed({"tensor_parallel": "1,2", "dtype": "fp8"}, {})
    made = asked.deployments(MODELS["llama-3-8b"], load_arch(H100), [[Request(0.0, 9, 9)]])
    assert {name: each.gpus for name, each in made.items()} == {"tensor_parallel=1": 1, "tensor_parallel=2": 2}
    assert {each.options.dtype for each in made.values()} == {"fp8"}


def test_steps_are_as_long_as_the_longest_prompt_where_prompts_are_not_cut() -> None:
    settings, _ = settings_of("trtllm", {})
    shape = Shape(100.0, 10.0, 20_000)
    assert fitting(settings, shape, frozenset()).max_tokens == 20_000 + settings.max_sequences
    assert fitting(settings, shape, frozenset({"max_tokens"})).max_tokens == 8192
    static, _ = settings_of("trtllm", {"batching": "static", "max_sequences": "16"})
    assert fitting(static, shape, frozenset()).max_tokens == 16 * 20_000


@pytest.mark.parametrize(
    ("lengths", "cache", "stages", "expected"),
    [
        ((128, 128), 2_000_000, 1, (4096, 8192)),
        ((1000, 1000), 600_000, 1, (384, 2048)),
        ((2048, 128), 1_000_000, 1, (512, 8192)),
        ((100, 100), 8_000, 1, (64, 2048)),
        ((2000, 500), 1_000_000, 2, (224, 2224)),
        ((20_000, 200), 1_000_000, 1, (64, 20_064)),
    ],
)
def test_steps_are_tuned_as_the_engines_benchmark_tunes_them(
    lengths: tuple[int, int], cache: float, stages: int, expected: tuple[int, int]
) -> None:
    """Worked out by hand from TensorRT-LLM's finetune_setting: 600,000 / 2000 = 300 sequences become 384, …"""
    settings, _ = settings_of("trtllm", {})
    made = tuned(settings, Shape(*lengths, lengths[0]), cache, stages, frozenset())
    assert (made.max_sequences, made.max_tokens) == expected
    assert made.graph_sizes[-1] == 8192
    assert (
        tuned(settings, Shape(*lengths, lengths[0]), cache, stages, frozenset({"max_sequences"})).max_sequences == 2048
    )


def test_a_machine_without_an_engine_takes_a_plain_one() -> None:
    with pytest.raises(SimexploreError, match="leaves no room"):
        Placed({}, {}).deployments(MODELS["llama-3-8b"], round_gpu(), [[Request(0.0, 9, 9)]])
