"""Queries of Prometheus about metrics of the catalogue."""

from collections.abc import Iterator

from appliance.control.observe.catalogue import CATALOGUE, Metric


def by_group() -> Iterator[tuple[str, list[Metric]]]:
    """The metrics under each heading, in the order of the catalogue."""
    titles = list(dict.fromkeys(metric.group for metric in CATALOGUE))
    return ((title, [metric for metric in CATALOGUE if metric.group == title]) for title in titles)


def select(metric: Metric, suffix: str = "", **labels: str) -> str:
    """The series of a metric. A label may be ``~`` and a regular expression."""
    pairs = [
        f'{name}=~"{value[1:]}"' if value.startswith("~") else f'{name}="{value}"' for name, value in labels.items()
    ]
    return f"{metric.name}{suffix}" + (f"{{{','.join(pairs)}}}" if pairs else "")


def rate(metric: Metric, window: str, *by: str, suffix: str = "", **labels: str) -> str:
    """How fast a counter grows, as one sum for each value of the labels ``by``."""
    grows = f"rate({select(metric, suffix, **labels)}[{window}])"
    return f"sum by ({', '.join(by)}) ({grows})" if by else f"sum({grows})"


def quantile(metric: Metric, part: float, window: str, *by: str, **labels: str) -> str:
    """What the fastest ``part`` of a histogram's durations took at most."""
    return f"histogram_quantile({part}, {rate(metric, window, 'le', *by, suffix='_bucket', **labels)})"
