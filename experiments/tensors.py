"""The tensors of the benchmark on real data: science first, then photographs, each by its name.

Files come with packages (see `datasets`); what is computed is computed here, from its equation.
"""

import dataclasses
import math
from collections.abc import Callable

import datasets
import numpy as np
from scipy.special import erf


@dataclasses.dataclass(frozen=True)
class Source:
    """A tensor of the benchmark.

    Attributes:
        load: gives it, in double precision, without gaps.
        errors: relative errors at which networks are compared.
        photo: whether it is a picture of every-day things.
    """

    load: Callable[[], np.ndarray]
    errors: tuple[float, ...] = (0.1, 0.05, 0.01)
    photo: bool = False


# What is computed ---------------------------------------------------------------------------


def electron_repulsion(atoms: int = 24, spacing: float = 1.4, exponent: float = 0.4) -> np.ndarray:
    """Repulsion integrals (ij|kl) [atoms]^4 of normalized s-type Gaussians on a chain, in Hartree.

    Lengths in Bohr. The order of modes is (i, j, k, l), in the notation of chemists.

    Reference:
        Szabo, Ostlund, "Modern Quantum Chemistry" (1989), appendix A: (ss|ss) by the Boys function.
    """
    places = spacing * np.arange(atoms)
    apart = places[:, None] - places[None, :]
    middle = (places[:, None] + places[None, :]) / 2
    # Each pair of orbitals is a Gaussian of twice the exponent at its middle.
    weight = (2 * exponent / math.pi) ** 1.5 * np.exp(-exponent / 2 * apart**2)
    pair = 2 * exponent
    distance = middle[:, :, None, None] - middle[None, None]
    t = pair / 2 * distance**2
    root = np.sqrt(np.where(t > 1e-12, t, 1.0))
    boys = np.where(t > 1e-12, math.sqrt(math.pi) / 2 * erf(root) / root, 1 - t / 3)
    repulsion = 2 * math.pi**2.5 / (pair**2 * math.sqrt(2 * pair))
    return repulsion * weight[:, :, None, None] * weight[None, None] * boys


def burgers(points: int = 128, times: int = 64, viscosities: int = 24) -> np.ndarray:
    """Solutions u(x, t, nu) [points, times, viscosities] of u_t + u u_x = nu u_xx, periodic in
    [0, 2 pi), from u(x, 0) = sin x: by the Cole-Hopf transform, whose heat equation a Fourier
    series solves exactly."""
    x = 2 * math.pi * np.arange(points) / points
    time = np.linspace(0.0, 3.0, times)
    out = np.empty((points, times, viscosities))
    for k, nu in enumerate(np.geomspace(0.05, 0.5, viscosities)):
        fine = 2 * math.pi * np.arange(8 * points) / (8 * points)
        waves = np.fft.rfft(np.exp(-(1 - np.cos(fine)) / (2 * nu))) / len(fine)
        order = np.arange(points // 2)
        waves = waves[: len(order)] * np.where(order, 2.0, 1.0)
        decay = waves[:, None] * np.exp(-nu * order[:, None] ** 2 * time)
        phi = (np.exp(1j * np.outer(x, order)) @ decay).real
        slope = (np.exp(1j * np.outer(x, order)) @ (1j * order[:, None] * decay)).real
        out[:, :, k] = -2 * nu * slope / phi
    return out


def diffusion(points: int = 65, values: int = 8) -> np.ndarray:
    """Solutions u(x; a, b, c, d) [points, values^4] of -(k u')' = 1, u(0) = u(1) = 0, where k has
    another value in each quarter of the interval: by second order differences."""
    levels = np.geomspace(0.1, 10.0, values)
    width = 1.0 / (points + 1)
    quarter = np.minimum(4 * (np.arange(points + 1) + 0.5) * width, 3.999).astype(int)
    out = np.empty((points, *(values,) * 4))
    for index in np.ndindex(out.shape[1:]):
        k = levels[list(index)][quarter]
        matrix = np.diag(k[:-1] + k[1:]) - np.diag(k[1:-1], 1) - np.diag(k[1:-1], -1)
        out[(slice(None), *index)] = np.linalg.solve(matrix / width**2, np.ones(points))
    return out


def waves(points: int = 96, times: int = 96, speeds: int = 16, places: int = 16) -> np.ndarray:
    """Displacement u(x, t, c, y) of a string with fixed ends that is plucked at y, for several
    speeds c: by its series of sines."""
    x = np.linspace(0, 1, points)
    time = np.linspace(0, 1, times)
    speed = np.linspace(0.5, 2.0, speeds)
    pluck = np.linspace(0.1, 0.5, places)
    n = np.arange(1, 65)
    shape = np.sin(math.pi * np.outer(x, n))
    swing = np.cos(math.pi * np.einsum("n,t,c->ntc", n, time, speed))
    start = 2 * np.sin(math.pi * np.outer(n, pluck)) / (n[:, None] ** 2 * math.pi**2)
    start /= pluck * (1 - pluck)
    return np.einsum("xn,ntc,ny->xtcy", shape, swing, start)


def lorenz(starts: int = 12, times: int = 200) -> np.ndarray:
    """Trajectories [3 coordinates, times, starts, starts] of the Lorenz system over two units of
    time, from a grid of first points: by the method of Runge and Kutta of order four."""
    grid = np.linspace(-12.0, 12.0, starts)
    state = np.stack([*np.meshgrid(grid, grid, indexing="ij"), np.full((starts, starts), 25.0)])

    def slope(state):
        x, y, z = state
        return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    step, out = 2.0 / times / 5, []
    for _ in range(times):
        out.append(state)
        for _ in range(5):
            a = slope(state)
            b = slope(state + step / 2 * a)
            c = slope(state + step / 2 * b)
            state = state + step / 6 * (a + 2 * b + 2 * c + slope(state + step * c))
    return np.stack(out, 1)


def digits_of(pixels: np.ndarray) -> np.ndarray:
    """A square picture whose side is a power of two, with its digits to the base four as modes."""
    return pixels.reshape((4,) * round(math.log(pixels.size, 4)))


# All of them --------------------------------------------------------------------------------

_PHOTO = (0.15, 0.1, 0.05)
_SMALL = ("camera", "astronaut", "coins", "brick", "grass")

SCIENCE: dict[str, Source] = {
    "kinetic": Source(datasets.kinetic_fluorescence),
    "pines": Source(datasets.indian_pines),
    "serology": Source(datasets.serology, (0.3, 0.2, 0.1)),
    "bikes": Source(datasets.oslo_bikes, (0.5, 0.4, 0.3)),
    "temperature E1": Source(lambda: datasets.north_america("E1"), (0.3, 0.2, 0.1)),
    "temperature A1B": Source(lambda: datasets.north_america("A1B"), (0.3, 0.2, 0.1)),
    "potential temperature": Source(datasets.potential_temperature),
    "electron density": Source(datasets.electron_density),
    "brain T1": Source(lambda: datasets.brain("t1"), (0.3, 0.2, 0.1)),
    "brain grey": Source(lambda: datasets.brain("gm"), (0.4, 0.3, 0.2)),
    "traffic": Source(datasets.traffic, (0.3, 0.2, 0.1)),
    "repulsion": Source(electron_repulsion, (1e-2, 1e-4, 1e-6)),
    "burgers": Source(burgers, (1e-1, 1e-2, 1e-3)),
    "diffusion": Source(diffusion, (1e-1, 1e-2, 1e-3)),
    "waves": Source(waves, (1e-1, 1e-2, 1e-3)),
    "lorenz": Source(lorenz, (1e-1, 1e-2, 1e-3)),
    "carphone": Source(datasets.carphone),
}
PHOTOS: dict[str, Source] = {
    **{
        name: Source(lambda name=name: digits_of(datasets.image(name)), _PHOTO, photo=True)
        for name in _SMALL
    },
    "coffee": Source(lambda: datasets.color("coffee"), _PHOTO, photo=True),
    "chelsea": Source(lambda: datasets.color("chelsea"), _PHOTO, photo=True),
    "rocket": Source(lambda: datasets.color("rocket"), _PHOTO, photo=True),
}
TENSORS = {**SCIENCE, **PHOTOS}
