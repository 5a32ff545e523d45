"""A serving engine: continuous batching over a paged KV cache, one step after another.

Before each step the scheduler gives every sequence that decodes the page that its new token may need, then fills the
step with pieces of prompts up to `max_tokens`: first of those that have begun, then of the ones that wait, in the order
of their rank, as long as there is room for them (vLLM: Kwon et al. 2023, arXiv:2309.06180; chunked prefill: Agrawal et
al. 2024, arXiv:2403.02310). Where a page is wanting, the sequence that was last in rank is evicted; it waits again.

Sequences that decode all grow by a token a step, so what happens to them is known by the number of the step: it ends
at one, and needs a page at every `page_tokens`-th. A step costs the same few operations however many there are.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf, isnan, nan

from simexplore.sim.serve.engine.pages import Pages
from simexplore.sim.serve.engine.sequence import Sequence
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.engine.tally import Tally
from simexplore.sim.serve.engine.work import Piece, Steps, check_fits, filled_up
from simexplore.sim.serve.load.request import Served
from simexplore.sim.serve.steps.table import cell_of


class Engine:
    """One engine. `now_s` is the end of its last step, or when it was last given something to do."""

    def __init__(self, steps: Steps, settings: Settings, name: int = 0, sends: bool = False) -> None:
        """An engine with nothing to do, at time 0; one that `sends` keeps what it prefills until others fetched it."""
        self.now_s, self.sends = 0.0, sends
        self.stuck = False
        """Whether there is no step before something comes, or is let go."""
        self.settings, self.name = settings, name
        self.pages = Pages(settings.pages)
        self.tally = Tally(settings.pages)
        self._steps = steps
        self._waiting: list[Sequence] = []
        self._prefilling: list[Sequence] = []
        self._running: dict[Sequence, None] = {}
        self._step = 0
        self._ends: dict[int, list[Sequence]] = {}
        self._kept: dict[int, Sequence] = {}
        self._landing: list[tuple[float, Sequence]] = []
        self._growing: list[dict[Sequence, None]] = [{} for _ in range(settings.page_tokens)]
        self._context = 0
        self._committed = 0

    @property
    def busy(self) -> bool:
        """Whether there is work."""
        return bool(self._running or self._prefilling or self._waiting or self._landing)

    @property
    def outstanding(self) -> int:
        """Requests that it has not answered."""
        return len(self._running) + len(self._prefilling) + len(self._waiting) + len(self._landing)

    @property
    def sequences(self) -> list[Sequence]:
        """Those that have pages, and those that wait."""
        landing = [sequence for _, sequence in self._landing]
        return [*self._running, *self._prefilling, *landing, *self._kept.values(), *self._waiting]

    def submit(self, served: Served, at_s: float, fetch: Callable[[float], float] | None = None) -> None:
        """Give it a request.

        Args:
            served: the request.
            at_s: when it comes [s].
            fetch: of one that another engine has prefilled: from when there is room for its keys and values to when
                they are there [s].

        Raises:
            SimexploreError: it can never be served: it is longer than the cache, or its prompt than a step.
        """
        request = served.request
        check_fits(served, self.settings)
        self.wake(at_s)
        served.replica = self.name
        sequence = Sequence(served, (request.priority, served.order), request.input_tokens)
        if fetch is not None:
            sequence.made, sequence.fetch = 1, fetch
        heappush(self._waiting, sequence)

    def advance(self, until_s: float = inf, stop_at_end: bool = False) -> list[Served]:
        """Run the steps that begin before a time, and tell who was answered; `stop_at_end`: until anyone is."""
        answered: list[Served] = []
        while self.now_s < until_s and not (answered and stop_at_end):
            self._land()
            pieces, extra_s = self._schedule()
            lands_s = min(until_s, self._landing[0][0]) if self._landing else until_s
            if pieces:
                self._prefill(pieces, extra_s, answered)
            elif self._running:
                self.now_s += extra_s
                self._decode(lands_s, answered)
            elif self._landing or self._kept or not self.busy:
                self.stuck = self.busy
                break
            else:  # prompts that have begun hold each other's pages: the last gives its up
                self._evict(self._prefilling[-1])
        return answered

    def let_go(self, order: int, at_s: float) -> None:
        """What was kept of a request for another engine has been fetched."""
        self._release(self._kept.pop(order))
        self.wake(at_s)

    def wake(self, at_s: float) -> None:
        """Something has changed at a time [s]: whoever was stuck looks again."""
        if self.stuck or not self.busy:
            self.now_s, self.stuck = max(self.now_s, at_s), False

    def kill(self) -> list[Served]:
        """The engine dies: everybody it worked for has to ask again, and its cache is empty."""
        everybody = [sequence.served for sequence in self.sequences]
        for served in everybody:
            served.first_s = nan
        for sequence in [*self._running, *self._prefilling]:
            self._evict(sequence, discard=True)
        while self._landing:
            self._release(self._landing.pop()[1])
        self._waiting.clear()
        self.pages = Pages(self.settings.pages)
        return everybody

    # Scheduling.

    def _schedule(self) -> tuple[list[Piece], float]:
        """The pieces of prompts of the next step, and the time that moving pages takes before it."""
        settings = self.settings
        if not self._prefilling and (not self._waiting or (self._running and settings.batching == "static")):
            return [], 0.0
        if settings.mixed and self._running and not self._grow():
            return self._schedule()
        budget = settings.max_tokens - (len(self._running) if settings.mixed else 0)
        pieces: list[Piece] = []
        for sequence in self._prefilling:
            tokens = self._piece(sequence, budget)
            if not tokens:
                return pieces, 0.0
            pieces.append(Piece(sequence, tokens))
            budget -= tokens
        if settings.batching == "static" and (pieces or self._running):
            return pieces, 0.0
        return pieces, self._admit(pieces, budget)

    def _admit(self, pieces: list[Piece], budget: int) -> float:
        """Begin with those that wait, in order, while there is room; time that bringing pages back takes [s]."""
        settings, extra_s = self.settings, 0.0
        while self._waiting and self.outstanding - len(self._waiting) < settings.max_sequences:
            sequence = self._waiting[0]
            if sequence.swapped or sequence.fetch is not None:
                if not self._fits(sequence, self.settings.pages_of(sequence.prompt + 1)):
                    break
                extra_s += self._bring_back(heappop(self._waiting))
                continue
            tokens = self._begin(sequence, budget)
            if not tokens:
                break
            heappop(self._waiting)
            self._prefilling.append(sequence)
            pieces.append(Piece(sequence, tokens))
            budget -= tokens
        return extra_s

    def _fits(self, sequence: Sequence, pages: int) -> bool:
        """Whether a sequence may be admitted that needs some pages now."""
        settings, request = self.settings, sequence.served.request
        longest = request.input_tokens + request.output_tokens - 1
        counted = max(sequence.prompt, int(request.input_tokens + settings.reserve * (request.output_tokens - 1)))
        need = settings.pages_of(min(counted, longest))
        if pages > self.pages.free or self._committed + need > settings.pages:
            return False
        sequence.committed = need
        self._committed += need
        return True

    def _begin(self, sequence: Sequence, budget: int) -> int:
        """Admit a sequence: tokens of its first piece, 0 where there is no room."""
        names = sequence.served.request.blocks
        block = self.settings.block_tokens
        # The last token of a prompt is always computed: its logits are what is sampled.
        known = min(self.pages.known(names), (sequence.prompt - 1) // block) if block and names else 0
        shared = names[:known]
        tokens = self._cut(sequence.prompt - known * block, budget)
        pages = self.settings.pages_of(known * block + tokens) - known * (block // self.settings.page_tokens)
        if not tokens or not self._fits(sequence, pages + self.pages.idle_pages(shared)):
            return 0
        if not sequence.served.evictions:
            sequence.served.cached_tokens = known * block
        self.tally.reused += known * block
        self.pages.share(shared)
        sequence.shared, sequence.done = shared, known * block
        sequence.own = self.pages.take(pages)
        return tokens

    def _cut(self, tokens: int, budget: int) -> int:
        """As many of a prompt's tokens as go into a step."""
        if tokens <= budget:
            return tokens
        return max(budget, 0) if self.settings.chunked else 0

    def _piece(self, sequence: Sequence, budget: int) -> int:
        """The next piece of a prompt that has begun; 0 where there is no room for it."""
        tokens = self._cut(sequence.prompt - sequence.done, budget)
        blocks = len(sequence.shared) * (self.settings.block_tokens // self.settings.page_tokens)
        more = self.settings.pages_of(sequence.done + tokens) - blocks - len(sequence.own)
        if more > self.pages.free:
            return 0
        sequence.own += self.pages.take(more)
        return tokens

    # Steps.

    def _prefill(self, pieces: list[Piece], extra_s: float, answered: list[Served]) -> None:
        """A step of pieces of prompts, with those that decode where the engine mixes them."""
        decoding = len(self._running) if self.settings.mixed else 0
        tokens = sum(piece.tokens for piece in pieces)
        pairs = sum(count * (each.done + 0.5 * (count + 1)) for each, count in pieces)
        queries = tokens / len(pieces)
        past = max(pairs / tokens - 0.5 * (queries + 1.0), 0.0)
        ends = [each for each, count in pieces if each.done + count == each.prompt]
        context = self._context / decoding if decoding else 0.0
        gpu_s, energy_j = self._steps.step(decoding, context, len(pieces), queries, past, decoding + len(ends))
        self.now_s += extra_s + self.settings.host.whole_s(gpu_s, decoding + len(pieces))
        self.tally.count(1, gpu_s, energy_j, tokens, decoding, self.pages.used)
        if self.now_s >= self.tally.look_s:
            self.tally.look(self.now_s, gpu_s, tokens, decoding, self.pages.used)
        for each, count in pieces:
            each.done += count
        if decoding:
            self._step += 1
            self._context += decoding
            self._end(answered)
        for sequence in ends:
            self._prompt_done(sequence, answered)

    def _prompt_done(self, sequence: Sequence, answered: list[Served]) -> None:
        """A prompt's last piece makes a token of the answer, the first if it was never evicted."""
        self._prefilling.remove(sequence)
        self._publish(sequence)
        sequence.made += 1
        self.tally.generated += 1
        if isnan(sequence.served.first_s):
            sequence.served.first_s = self.now_s + self.settings.host.detokenizer_s
        if sequence.left:
            self._join(sequence)
        else:
            self._answer(sequence, answered)

    def _publish(self, sequence: Sequence) -> None:
        """Let later prompts share the blocks of this one."""
        names, block = sequence.served.request.blocks, self.settings.block_tokens
        if not block or not names:
            return
        pages, whole = block // self.settings.page_tokens, sequence.served.request.input_tokens // block
        for name in names[len(sequence.shared) : whole]:
            if not self.pages.publish(name, sequence.own[:pages]):
                return
            sequence.own = sequence.own[pages:]
            sequence.shared = (*sequence.shared, name)

    def _join(self, sequence: Sequence) -> None:
        """From the next step on it decodes."""
        sequence.joined = self._step
        self._running[sequence] = None
        self._growing[(self._step - sequence.prompt) % self.settings.page_tokens][sequence] = None
        self._ends.setdefault(self._step + sequence.left, []).append(sequence)
        self._context += sequence.prompt + 1

    def _grow(self) -> bool:
        """A page for each that needs one in the next step; False where that took evictions, and all has changed."""
        pages, step = self.pages, self._step
        for sequence in self._growing[step % self.settings.page_tokens]:
            if sequence.granted != step:
                if not pages.free:
                    self.tally.count(0, 0.0, 0.0, 0, 0, pages.used)
                    self._evict(max((*self._running, *self._prefilling)))
                    return False
                sequence.own.append(pages.take_one())
                sequence.granted = step
        return True

    def _decode(self, until_s: float, answered: list[Served]) -> None:
        """Steps of nothing but decoding, until one ends, a page is wanting, or the time is up."""
        settings, growing, ends, tally = self.settings, self._growing, self._ends, self.tally
        count, page_tokens, begun = len(self._running), settings.page_tokens, self._step
        more_s, least_s = settings.host.beside(count)
        row = self._steps.row(count, filled_up(count, settings.graph_sizes))
        contexts, times_s, energies_j, time_slopes, energy_slopes = row
        context, cell_end, cell = self._context / count, -inf, 0
        busy_s = spent_j = 0.0
        while self.now_s < until_s:
            if growing[self._step % page_tokens] and not self._grow():
                break
            if context >= cell_end:
                cell = cell_of(row, context)
                cell_end = contexts[cell + 1] if cell + 1 < len(contexts) else inf
            beyond = context - contexts[cell]
            gpu_s = times_s[cell] + beyond * time_slopes[cell]
            busy_s += gpu_s
            spent_j += energies_j[cell] + beyond * energy_slopes[cell]
            whole_s = gpu_s + more_s
            self.now_s += whole_s if whole_s > least_s else least_s
            self._step += 1
            context += 1.0
            if self.now_s >= tally.look_s:
                tally.look(self.now_s, gpu_s, 0, count, self.pages.used)
            if self._step in ends:
                break
        steps = self._step - begun
        tally.count(steps, busy_s, spent_j, 0, count * steps, self.pages.used)
        self._context += count * steps
        self._end(answered)

    def _end(self, answered: list[Served]) -> None:
        """Those whose last token was made in the step before are answered."""
        for sequence in self._ends.pop(self._step, ()):
            sequence.made = sequence.served.request.output_tokens
            self._stop(sequence)
            self._answer(sequence, answered)

    def _stop(self, sequence: Sequence) -> None:
        """It decodes no more."""
        del self._running[sequence]
        del self._growing[(sequence.joined - sequence.prompt) % self.settings.page_tokens][sequence]
        self._context -= sequence.cached(self._step) + 1

    def _answer(self, sequence: Sequence, answered: list[Served]) -> None:
        if self.sends:
            self._kept[sequence.served.order] = sequence
        else:
            self._release(sequence)
        sequence.served.finish_s = self.now_s + self.settings.host.detokenizer_s
        answered.append(sequence.served)

    def _release(self, sequence: Sequence) -> None:
        """Give up its pages, and what was counted on for it."""
        self.pages.give_back(sequence.own)
        self.pages.leave(sequence.shared)
        self._committed -= sequence.committed
        sequence.own, sequence.shared, sequence.committed, sequence.granted = [], (), 0, -1

    # Evictions.

    def _evict(self, sequence: Sequence, discard: bool = False) -> None:
        """Take a sequence's pages; it waits again, unless it is lost with its engine."""
        pages = self.settings.pages_of(sequence.done)
        if sequence in self._running:
            done = self._step - sequence.joined
            end = self._step + sequence.left - done
            self._stop(sequence)
            self._ends[end].remove(sequence)
            sequence.made += done
            sequence.prompt += done
            pages = self.settings.pages_of(sequence.prompt)
        else:
            self._prefilling.remove(sequence)
            pages = 0
        self._release(sequence)
        sequence.done = 0
        if discard:
            return
        sequence.served.evictions += 1
        self.tally.evicted += 1
        if pages and self.settings.eviction == "swap":
            self.now_s += pages * self.settings.swap_s
            sequence.swapped = pages
        else:  # what was generated is part of what has to be computed again
            sequence.prompt = sequence.served.request.input_tokens + sequence.made
        heappush(self._waiting, sequence)

    def _bring_back(self, sequence: Sequence) -> float:
        """Room for a sequence whose keys and values lie elsewhere; the time that moving them takes the engine [s].

        What another engine has comes while this one goes on; what the host has is there before the next step.
        """
        sequence.own = self.pages.take(self.settings.pages_of(sequence.prompt + 1))
        if sequence.fetch is not None:
            insort(self._landing, (sequence.fetch(self.now_s), sequence))
            sequence.fetch = None
            return 0.0
        pages, sequence.swapped = sequence.swapped, 0
        self._go_on(sequence)
        return pages * self.settings.swap_s

    def _land(self) -> None:
        """Sequences whose keys and values have come decode from now on."""
        while self._landing and self._landing[0][0] <= self.now_s:
            self._go_on(self._landing.pop(0)[1])

    def _go_on(self, sequence: Sequence) -> None:
        """All keys and values of a sequence are there: it decodes from the next step on."""
        sequence.granted = self._step
        sequence.done = sequence.prompt
        self._join(sequence)
