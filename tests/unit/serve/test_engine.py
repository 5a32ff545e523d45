"""An engine whose steps take round times: who is served when, worked out by hand."""

from __future__ import annotations

import pytest
from toy_steps import ToySteps

from simexplore.errors import SimexploreError
from simexplore.sim.serve.apart import serve_apart
from simexplore.sim.serve.cluster import PLAIN, Outage, Routing, Ways, questions_of, serve
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import HostCosts, Settings
from simexplore.sim.serve.engine.work import filled_up
from simexplore.sim.serve.load.arrivals import Lengths, Users
from simexplore.sim.serve.load.request import Request, Served


def engine(steps: ToySteps | None = None, **settings: object) -> Engine:
    return Engine(steps or ToySteps(), Settings(**{"page_tokens": 4, "pages": 1000, **settings}))  # type: ignore[arg-type]


def sender(steps: ToySteps | None = None, **settings: object) -> Engine:
    """An engine whose prompts others fetch."""
    return Engine(steps or ToySteps(), engine(**settings).settings, sends=True)


def times(served: list[Served]) -> list[tuple[float, float]]:
    return [(each.first_s, each.finish_s) for each in served]


def test_one_request_takes_a_step_for_its_prompt_and_one_for_each_token_after_the_first() -> None:
    one = engine()
    assert times(serve([one], [Request(2.0, 10, 4)])) == [(3.0, 6.0)]
    assert (one.tally.steps, one.tally.prefilled, one.tally.generated) == (4, 10, 4)
    assert one.pages.free == 1000
    assert one.tally.energy_j == pytest.approx(4.0)


def test_a_prompt_joins_the_sequences_that_decode() -> None:
    """The second arrives in the step from 1 to 2 and is prefilled in that from 2 to 3, in which the first decodes."""
    assert times(serve([engine()], [Request(0.0, 8, 5), Request(1.5, 8, 2)])) == [(1.0, 5.0), (3.0, 4.0)]


def test_prompts_come_first_where_steps_are_not_mixed() -> None:
    """The step from 2 to 3 is the second prompt's alone: the first waits for it."""
    assert times(serve([engine(mixed=False)], [Request(0.0, 8, 5), Request(1.5, 8, 2)])) == [(1.0, 6.0), (3.0, 4.0)]


def test_a_long_prompt_is_cut_into_pieces() -> None:
    """10 tokens in steps of 4: three steps until the first token."""
    one = engine(max_tokens=4)
    assert times(serve([one], [Request(0.0, 10, 2)])) == [(3.0, 4.0)]
    assert one.tally.prefilled == 10


def test_sequences_that_decode_leave_less_of_a_step_to_prompts() -> None:
    """Of 5 tokens a step the sequence takes one: the prompt of 10 needs three steps of 4."""
    assert times(serve([engine(max_tokens=5)], [Request(0.0, 4, 9), Request(0.5, 10, 1)]))[1] == (4.0, 4.0)


def test_prompts_that_are_not_cut_wait_for_a_step_with_room() -> None:
    """Two prompts of 6 do not fit a step of 10: one step each."""
    served = serve([engine(max_tokens=10, chunked=False, reserve=1.0)], [Request(0.0, 6, 1)] * 2)
    assert [each.first_s for each in served] == [1.0, 2.0]


def test_no_more_sequences_than_allowed() -> None:
    served = serve([engine(max_sequences=1)], [Request(0.0, 4, 2)] * 2)
    assert times(served) == [(1.0, 2.0), (3.0, 4.0)]


def test_smaller_priorities_go_first() -> None:
    requests = [Request(0.0, 4, 1), Request(0.1, 4, 1, priority=1), Request(0.2, 4, 1, priority=-1)]
    served = serve([engine(max_sequences=1)], requests)
    assert [each.first_s for each in served] == [1.0, 3.0, 2.0]


def test_a_static_batch_begins_when_the_one_before_has_ended() -> None:
    """The first batch takes until its longest answer is there, at 5."""
    served = serve(
        [engine(batching="static", max_sequences=2)], [Request(0.0, 4, 5), Request(0.0, 4, 2), Request(0.0, 4, 2)]
    )
    assert times(served) == [(1.0, 5.0), (1.0, 2.0), (6.0, 7.0)]


def test_a_sequence_is_evicted_where_a_page_is_wanting_and_computed_again() -> None:
    """Four pages of 4: both prompts of 8 fill them. The second is evicted and waits until the first has ended.

    At 1 both have a token; each needs a third page. The first ends at 5. The second then computes 8 + 1 tokens, which
    makes its second token at 6, and has its third at 7.
    """
    one = engine(pages=4)
    served = serve([one], [Request(0.0, 8, 5), Request(0.0, 8, 3)])
    assert times(served) == [(1.0, 5.0), (1.0, 7.0)]
    assert (served[1].evictions, one.tally.evicted, one.tally.prefilled) == (1, 1, 8 + 8 + 9)
    assert one.tally.generated == 8
    assert one.pages.free == 4


def test_a_sequence_whose_pages_were_swapped_goes_on_where_it_was() -> None:
    """Moving its two pages takes half a second out and half a second back; it needs no prefill."""
    one = engine(pages=4, eviction="swap", swap_s=0.25)
    served = serve([one], [Request(0.0, 8, 5), Request(0.0, 8, 3)])
    assert times(served) == [(1.0, 5.5), (1.0, 8.0)]
    assert one.tally.prefilled == 16


def test_admission_that_counts_on_all_output_evicts_nobody() -> None:
    one = engine(pages=4, reserve=1.0)
    served = serve([one], [Request(0.0, 8, 5), Request(0.0, 8, 3)])
    assert times(served) == [(1.0, 5.0), (6.0, 8.0)]
    assert one.tally.evicted == 0


def test_blocks_that_a_prompt_shares_are_not_computed_again() -> None:
    """Of 12 tokens the first 8 are known to the second prompt, and its last token is computed in any case."""
    one = engine(block_tokens=4)
    served = serve(
        [one], [Request(0.0, 12, 1, 0, (1, 2, 3)), Request(5.0, 12, 1, 0, (1, 2, 4)), Request(9.0, 8, 1, 0, (1, 2))]
    )
    assert [each.cached_tokens for each in served] == [0, 8, 4]
    assert (one.tally.prefilled, one.tally.reused) == (12 + 4 + 4, 12)


def test_blocks_that_nobody_uses_make_room() -> None:
    one = engine(block_tokens=4, pages=4)
    serve([one], [Request(0.0, 8, 1, 0, (1, 2)), Request(5.0, 12, 2, 0, (7, 8, 9))])
    assert one.pages.free == 4
    assert one.pages.known((1, 2)) < 2


def test_what_the_host_does_beside_the_gpu_is_seen_where_it_takes_longer() -> None:
    overlapped = HostCosts(step_s=0.5, sequence_s=0.75, sampling_s=0.125)
    assert overlapped.whole_s(1.0, 1) == 1.25
    assert overlapped.whole_s(2.0, 1) == 2.125
    assert HostCosts(step_s=0.5, overlapped=False).whole_s(1.0, 3) == 1.5
    host = HostCosts(tokenizer_token_s=0.25, detokenizer_s=0.0625)
    assert times(serve([engine(host=host)], [Request(0.0, 4, 2)])) == [(2.0625, 3.0625)]


def test_graphs_are_filled_up() -> None:
    assert [filled_up(count, (1, 2, 4)) for count in (1, 3, 4, 5)] == [1, 4, 4, 5]
    steps = ToySteps(fixed_s=0.0, sequence_s=1.0, prompt_s=1.0)
    one = engine(steps, graph_sizes=(4,))
    assert times(serve([one], [Request(0.0, 2, 2)])) == [(2.0, 6.0)]


def test_steps_grow_with_the_context() -> None:
    """The prompt's step takes 1 s; in the next two the context is 101 and 102 tokens."""
    served = serve([engine(ToySteps(context_s=0.001))], [Request(0.0, 100, 3)])
    assert served[0].finish_s == pytest.approx(1.0 + 1.101 + 1.102)


def test_requests_go_to_engines_in_turn_or_to_the_one_with_least_to_do() -> None:
    """The second engine has nothing to do after the step that it is in, so the third request goes there too."""
    requests = [Request(0.0, 4, 9), Request(0.1, 4, 1), Request(0.2, 4, 9), Request(2.5, 4, 1), Request(2.6, 4, 1)]

    def chosen(routing: Routing) -> list[int]:
        engines = [engine(), Engine(ToySteps(), Settings(), 1)]
        return [each.replica for each in serve(engines, requests, Ways(routing=routing))]

    assert chosen("round-robin") == [0, 1, 0, 1, 0]
    assert chosen("least") == [0, 1, 1, 0, 1]


def test_who_was_served_by_an_engine_that_died_asks_again() -> None:
    """It dies in the step from 2 to 3 and is back at 10; the prompt is computed anew."""
    one = engine()
    served = serve([one], [Request(0.0, 4, 5)], Ways(outages=[Outage(2.5, 0, 7.5)]))
    assert times(served) == [(11.0, 15.0)]
    assert one.pages.free == 1000
    assert one.tally.prefilled == 8


def test_users_ask_again_when_they_have_an_answer_and_thought() -> None:
    """Each answer takes 2 s, each thought 3: the two users ask at 0, 5 and 10."""
    served = serve([engine()], *questions_of(Users(2, 3.0, 5, Lengths(4, 4), Lengths(2, 2)), PLAIN))
    assert [each.arrival_s for each in served] == [0.0, 0.0, 5.0, 5.0, 10.0]
    assert [each.finish_s for each in served] == [2.0, 2.0, 7.0, 7.0, 12.0]


def test_pools_hand_over_one_prompt_after_the_other() -> None:
    """Both prompts are done at 1; the second is sent when the first is there, at 1.5, and decodes from 2 on."""
    prefill, decode = sender(), engine()
    served = serve_apart(
        [prefill], [decode], [Request(0.0, 4, 3), Request(0.0, 4, 3), Request(0.0, 4, 1)], lambda _: 0.5
    )
    assert times(served) == [(1.0, 3.5), (1.0, 4.5), (1.0, 1.0)]
    assert (prefill.tally.prefilled, decode.tally.prefilled) == (12, 0)
    assert decode.pages.free == 1000


@pytest.mark.parametrize(
    ("request_", "settings", "words"),
    [
        (Request(0.0, 30, 11), {"pages": 9}, "40 tokens need more than the 36"),
        (Request(0.0, 30, 1), {"max_tokens": 20, "chunked": False, "reserve": 1.0}, "longer than a step of 20"),
        (Request(0.0, 15, 10), {"max_tokens": 20, "chunked": False}, "prompt of 24 tokens"),
    ],
)
def test_what_can_never_be_served_is_refused(request_: Request, settings: dict[str, object], words: str) -> None:
    with pytest.raises(SimexploreError, match=words):
        serve([engine(**settings)], [request_])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pages": 0}, "pages: expected at least 1"),
        ({"max_tokens": 0}, "max tokens"),
        ({"reserve": 1.5}, "reserve: expected a share"),
        ({"page_tokens": 16, "block_tokens": 24}, "multiple of page tokens = 16"),
    ],
)
def test_settings_that_no_engine_can_have(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SimexploreError, match=words):
        engine(**settings)


def test_an_outage_is_of_an_engine_that_there_is() -> None:
    with pytest.raises(SimexploreError, match="an engine from 0 to 0, found 3"):
        serve([engine()], [Request(0.0, 4, 1)], Ways(outages=[Outage(1.0, 3, 1.0)]))


@pytest.mark.parametrize(("pages", "ends", "evicted"), [(7, [3.0, 5.0, 6.0], 0), (8, [3.0, 4.0, 7.0], 1)])
def test_more_cache_may_be_in_the_way_where_sequences_are_evicted(pages: int, ends: list[float], evicted: int) -> None:
    """The example of docs/guide/serving.md: a token a page, four tokens a step, a second each.

    With 7 pages the second prompt waits until the first request is done, and shares a step with the third. With 8 it
    begins in the second step and is evicted in the third; what is computed again fills the fourth step.
    """
    one = engine(page_tokens=1, pages=pages, max_tokens=4)
    load = [Request(0.0, 4, 3), Request(0.0, 3, 2), Request(0.0, 1, 3)]
    assert [each.finish_s for each in serve([one], load)] == ends
    assert one.tally.evicted == evicted
    assert one.tally.prefilled == 8 + 4 * evicted


def test_a_prompt_that_is_evicted_again_and_again_leaves_room_for_who_decodes() -> None:
    """Six and nine tokens in 19 pages of one: at 7 the second is evicted, since both have grown to eight and eleven.

    It comes back with twelve tokens; eight are there at 9, when there is no room for the rest. The first decodes, and
    has the last page at 11, so the prompt is evicted again at 12. Four tokens of it are there at 13, the first is done
    at 14; the rest takes until 16, and the four tokens that are left until 20.
    """
    one = engine(page_tokens=1, pages=19, max_tokens=4, mixed=False)
    served = serve([one], [Request(0.0, 6, 8), Request(0.0, 9, 8)])
    assert times(served) == [(2.0, 14.0), (4.0, 20.0)]
    assert (one.tally.evicted, one.tally.prefilled) == (2, 6 + 9 + 8 + 12)


def test_who_was_swapped_comes_back_only_where_the_others_have_their_pages() -> None:
    one = engine(page_tokens=1, pages=15, max_tokens=4, mixed=False, eviction="swap", swap_s=0.125)
    load = [Request(2.0, 9, 4, 1), Request(0.0, 6, 8, 1), Request(0.0, 7, 2, 0)]
    served = serve([one], load)
    assert sum(each.evictions for each in served) == one.tally.evicted > 0
    assert one.tally.generated == 14
    assert one.pages.free == 15
