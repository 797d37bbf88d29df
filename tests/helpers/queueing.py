"""Which component of a deployment saturates first at a multiple of a load, from what a request costs each of them.

Assumptions: requests arrive independently of each other (a Poisson process), a component with several processors has one
queue for all of them (M/M/c), and a request costs the same at any load. Nothing but processors and the lock behind which
transactions commit is scarce: neither memory nor disk nor network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

MAX_UTILIZATION = 0.7
"""Share of its time that a processor may be busy: above, waiting times grow faster than the load."""


@dataclass(frozen=True)
class Component:
    """A part of the deployment with a queue of its own."""

    name: str
    servers: int
    """Processors, or 1 for a lock."""
    seconds: float
    """Processor time, or time under the lock, for each second of the load."""
    scalable: bool = True
    """False if more machines do not help."""

    def at(self, factor: float) -> "Component":
        """Return the component at a multiple of the load."""
        return Component(self.name, self.servers, self.seconds * factor, self.scalable)

    @property
    def utilization(self) -> float:
        """Share of their time that its servers are busy; above 1, the load can't be served."""
        return self.seconds / self.servers

    @property
    def needed(self) -> int:
        """Servers that it would need."""
        return max(1, ceil(self.seconds / MAX_UTILIZATION))


def first_to_saturate(components: list[Component]) -> Component:
    """Return the component that limits the load."""
    return max(components, key=lambda component: component.utilization)


def waiting_share(servers: int, load: float) -> float:
    """Return the probability that a request has to wait (Erlang C), for a load in servers' worth of work below `servers`."""
    term = total = 1.0
    for number in range(1, servers):
        term *= load / number
        total += term
    last = term * load / (servers - load)
    return last / (total + last)


def response_seconds(component: Component, service_seconds: float) -> float:
    """Return the mean time in a component, for the mean time of a request there without waiting; infinite if saturated."""
    if component.utilization >= 1:
        return float("inf")
    waiting = waiting_share(component.servers, component.seconds)
    return service_seconds + waiting * service_seconds / (component.servers - component.seconds)


def table(components: list[Component], factors: Mapping[str, float]) -> list[str]:
    """Return a Markdown table: utilizations of the components by factor, and which one saturates first."""
    names = [component.name for component in components]
    lines = [f"| load | {' | '.join(names)} | first |", f"| --- |{' ---: |' * len(names)} --- |"]
    for title, factor in factors.items():
        scaled = [component.at(factor) for component in components]
        cells = [f"{component.utilization:.0%}, {_needs(component)}" for component in scaled]
        lines.append(f"| {title} | {' | '.join(cells)} | {first_to_saturate(scaled).name} |")
    return lines


def _needs(component: Component) -> str:
    if component.scalable:
        return f"needs {component.needed:,}"
    return "fits" if component.utilization <= MAX_UTILIZATION else "too much"
