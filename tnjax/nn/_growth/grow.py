"""Growing the networks of several layers at once under a task's loss."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
from jaxtyping import PRNGKeyArray

from ..._status import Status
from ..._tuned import tuned
from .._layers import FORWARD
from .._layout import Layout
from .._linear import Forward
from .._measure import functional_gradients
from .._training import Trainer, Training
from ..model import Slot
from .cut_back import cut_back
from .increments import (
    Networks,
    best_length,
    choose,
    current,
    num_params,
    typical_rank,
    with_growth,
)
from .screening import GradientScreen, LayerScreen, TrialScreen


@dataclasses.dataclass(frozen=True)
class LayerGrowth:
    """Growth of the bonds of layers.

    Attributes:
        long: steps from which on a program is compiled with all optimizations.
        enough: of a limit beyond the budget; what is missing there is not worth a move.
    """

    long: int = 100
    enough: float = 0.9


LAYER_GROWTH = tuned("layer_growth", LayerGrowth())


_SCREENS = {"gradient": GradientScreen, "trial": TrialScreen}

Increments = tuple[tuple[str, tuple[int, ...], int], ...]
Starts = Mapping[str, Layout] | Callable[[Slot], Layout] | Literal["digits"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grow:
    """Compression by growth: every layer starts at a small network, and the bonds of all layers
    grow together by what the task's loss says, with training in between.

    Args:
        start: layouts by layer, or a function of a `Slot` to its layout; the cores are fitted to
            the weights. By default a layer that is a network already grows from what it is, and
            a dense one starts at its whitened SVD, of half the rank that would fill the budget.
            "digits": at paired digits of sizes near 4 without bonds, padded where sizes do not
            factor, so that the graph itself is learned.
        screen: how bonds are compared: "gradient", "trial" (the paper's), or a `LayerScreen`.
        factor: a move grows bonds until the parameters have risen by this factor, above 1.
        power: exponent of the cost in gain / cost^power.
        overshoot: growth goes on to this multiple of the budget, 1 or more, and bonds are then cut
            back to it before the last training: a network learns faster while it is larger, and
            ranks that training has shown to be of little use go. Steps take longer, too.
        cuts: moves in which bonds are cut back, with training in between.
        screen_batches: training batches that the screen looks at.
        forward: how the new layers compute.

    Raises:
        ValueError: if a number is out of range or the screen is unknown.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, tnjax
        >>> from tnjax.nn import Grow, Task, Training
        >>> model = eqx.nn.MLP(4, 2, 16, 1, key=jax.random.key(0))
        >>> task = Task(lambda model, x: jnp.mean((jax.vmap(model)(x) - 1) ** 2), [jnp.eye(4)])
        >>> result = tnjax.compress(
        ...     model, task, layers="layers.0", budget=0.9, method=Grow(factor=2.0),
        ...     training=Training(steps=1, final_steps=0),
        ... )
        >>> result.num_params <= 57, len(result.path)
        (True, 2)

    Reference:
        arXiv 2008.05437, algorithm 1 and section 5.4.
    """

    start: Starts | None = None
    screen: Literal["gradient", "trial"] | LayerScreen = "gradient"
    factor: float = 1.5
    power: float = 0.5
    overshoot: float = 1.0
    cuts: int = 1
    screen_batches: int = 4
    forward: Forward = FORWARD

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(f"Grow: factor={self.factor!r}; expected more than 1.")
        for name in ("overshoot", "cuts", "screen_batches"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"Grow: {name}={getattr(self, name)!r}; expected 1 or more.")
        if isinstance(self.start, str) and self.start != "digits":
            raise ValueError(f'Grow: start={self.start!r}; expected layouts or "digits".')
        if not isinstance(self.screen, LayerScreen) and self.screen not in _SCREENS:
            raise ValueError(
                f"Grow: unknown screen {self.screen!r}; choose one of {', '.join(_SCREENS)}."
            )

    @property
    def layer_screen(self) -> LayerScreen:
        """The screen itself, where its name was given."""
        return self.screen if isinstance(self.screen, LayerScreen) else _SCREENS[self.screen]()


@dataclasses.dataclass(frozen=True)
class GrowStep:
    """One move: what grew, and the model after its training.

    Attributes:
        grown: (layer, bond, ranks) of every increment of the move; empty for the start and for a
            last training of the same networks, negative where bonds were cut back.
        num_params: of all networks.
        metric: on validation data.
        status: how the training ended.
        model: the best model of this size on validation data.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, tnjax
        >>> from tnjax.nn import Task, Training
        >>> model = eqx.nn.MLP(4, 2, 16, 1, key=jax.random.key(0))
        >>> task = Task(lambda model, x: jnp.mean((jax.vmap(model)(x) - 1) ** 2), [jnp.eye(4)])
        >>> result = tnjax.compress(
        ...     model, task, layers="layers.0", budget=40, method="grow",
        ...     training=Training(steps=1, final_steps=0),
        ... )
        >>> [(step.grown, step.num_params) for step in result.path]
        [((), 20), ((('layers.0', (0, 1), 1),), 40)]
    """

    grown: Increments
    num_params: int
    metric: float
    status: Status
    model: Any


def grow_layers(
    model: Any,
    networks: Networks,
    budget: int,
    grow: Grow,
    trainer: Trainer,
    training: Training,
    *,
    key: PRNGKeyArray,
    on_step: Callable[[GrowStep], Any] | None,
) -> tuple[list[GrowStep], str]:
    """Train, screen all bonds of all layers, grow the best ones, until the budget times
    `grow.overshoot` is used; then cut back to the budget in `grow.cuts` moves.

    Args:
        model: with the networks in it.
        networks: layouts and cores by layer, where growth begins.
        budget: parameters of all networks at the end.
        grow, training: the options.
        trainer: of the model on its task.
        key: for the screens.
        on_step: called with every move.

    Returns:
        The moves, and what ended the growth.

    Raises:
        ValueError: if the start does not fit, or the metric is not finite.
    """
    _check_start(networks, budget, grow)
    batches = trainer.task.epochs()
    growth = _Growth(grow, trainer, training, on_step, batches, model, dict(networks))
    growth.up_to(int(grow.overshoot * budget), key)
    growth.down_to(budget)
    return growth.path, growth.reason


@dataclasses.dataclass
class _Growth:
    """A growth under way: the model with its networks, and the moves so far.

    Attributes:
        grow, trainer, training, on_step: as in `grow_layers`.
        stream: training batches without end.
        model: the last one.
        networks: its layouts and cores.
        batches: that the last screen looked at.
        done: steps of training.
        path: the moves.
        reason: what ended the growth.
    """

    grow: Grow
    trainer: Trainer
    training: Training
    on_step: Callable[[GrowStep], Any] | None
    stream: Iterator[Any]
    model: Any
    networks: dict[str, Any]
    batches: list[Any] = dataclasses.field(default_factory=list)
    done: int = 0
    path: list[GrowStep] = dataclasses.field(default_factory=list)
    reason: str = ""

    def up_to(self, limit: int, key: PRNGKeyArray) -> None:
        """Grow until nothing more fits into the limit."""
        grow, training = self.grow, self.training
        enough = limit if grow.overshoot == 1 else LAYER_GROWTH().enough * limit
        grown: Increments = ()
        for number in itertools.count():
            self._train(training.after_move(self.done), grown)
            self.batches = list(itertools.islice(self.stream, grow.screen_batches))
            if num_params(self.networks) >= enough:
                self.reason = "the budget is used"
                return
            if training.spent(self.done, grow.cuts):
                self.reason = "all steps of training are made"
                return
            grown = self._move(limit, jax.random.fold_in(key, number))
            if not grown:
                return

    def down_to(self, budget: int) -> None:
        """Cut back to the budget, and train for the last time."""
        grown: Increments = ()
        for size in _sizes(num_params(self.networks), budget, self.grow.cuts):
            if grown:
                self._train(self.training.after_move(self.done), grown)
            grown = self._cut(size)
        last = self.training.last(self.done)
        if last or grown:
            self._train(last, grown)

    def _train(self, steps: int, grown: Increments) -> None:
        """Go on with the last model of a training; the path has the best one."""
        training, total = self.training, num_params(self.networks)
        found = self.trainer(
            self.model,
            self.stream,
            steps=steps,
            schedule=training.factor(self.done),
            checks=training.checks,
            tier="full" if steps >= LAYER_GROWTH().long else "fast",
        )
        if not math.isfinite(found.metric):
            raise ValueError(
                f"compress: the metric is {found.metric} before and after training with "
                f"{total} parameters. Look at the loss and the data, or lower the learning rate."
            )
        self.path.append(GrowStep(grown, total, found.metric, found.status, found.model))
        if self.on_step is not None:
            self.on_step(self.path[-1])
        self.done += steps
        self._now(found.last, self.networks)

    def _move(self, limit: int, key: PRNGKeyArray) -> Increments:
        """Grow the best bonds; nothing where none of them pays."""
        grow, adapter, task = self.grow, self.trainer.adapter, self.trainer.task
        total = num_params(self.networks)
        increment = max(1, round((grow.factor - 1) * typical_rank(self.networks)))
        given = adapter, self.model, self.networks, task, self.batches
        candidates = grow.layer_screen(*given, increment=increment, key=key)
        goal = min(limit, math.ceil(total * grow.factor))
        chosen = choose(candidates, total, goal, limit, grow.power)
        if not chosen:
            gains = any(candidate.gain > 0 for candidate in candidates)
            why = "the next rank does not fit" if gains else "no bond lowers the loss"
            self.reason = f"{total} of {limit} parameters: {why}"
        if chosen:
            model = best_length(
                adapter, self.model, self.networks, chosen, task, self.batches, grow.forward
            )
            self._now(model, with_growth(self.networks, chosen))
        return tuple((c.layer, c.edge, len(c.slices)) for c in chosen)

    def _cut(self, size: int) -> Increments:
        """Cut back to a number of parameters; (layer, bond, -ranks) of every cut."""
        adapter = self.trainer.adapter
        known = adapter.slots(self.model)
        slots = [known[name] for name in self.networks]
        given = adapter, self.model, slots, self.trainer.task, self.batches
        _, moments = functional_gradients(*given)
        second = {name: found.second for name, found in moments.items()}
        importance = {name: m.curvature(len(self.batches)) for name, m in moments.items()}
        self.networks, grown = cut_back(self.networks, size, second, importance)
        self.model = adapter.replaced(self.model, self.networks, forward=self.grow.forward)
        return grown

    def _now(self, model: Any, networks: Networks) -> None:
        """Take a model and the cores that it has, in the layouts of the networks."""
        self.model, self.networks = model, current(self.trainer.adapter, model, networks)


def _check_start(networks: Networks, budget: int, grow: Grow) -> None:
    for name, (layout, _) in networks.items():
        if layout.copies:
            raise ValueError(
                f"compress: layer {name!r} has copy nodes ({layout}), which do not grow. Start "
                "from `tnjax.nn.paired` or another layout without copies."
            )
    total, limit = num_params(networks), int(grow.overshoot * budget)
    if total > limit:
        times = f" times overshoot={grow.overshoot:g}" if grow.overshoot > 1 else ""
        raise ValueError(
            f"compress: the start has {total} parameters, more than the budget of {budget}{times}. "
            "Give smaller starting layouts, or a larger budget."
        )


def _sizes(total: int, budget: int, cuts: int) -> list[int]:
    """Parameters after every cut, by equal factors; none where the budget is met already."""
    if total <= budget:
        return []
    ratio = budget / total
    return [int(total * ratio ** (k / cuts)) for k in range(1, cuts)] + [budget]
