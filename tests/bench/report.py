# SPDX-License-Identifier: MIT
"""Statistics, and tables in plain text."""


def quantile(samples, q):
    """Of at least one sample; between two the lower."""
    return sorted(samples)[int(q * (len(samples) - 1))]


def median(samples):
    return quantile(samples, 0.5)


def number(value):
    """Three significant digits, and all of an integer's."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(samples, unit):
    """Median, minimum and 90th percentile in so many of the samples' units, as three cells."""
    return [number(quantile(samples, q) / unit) for q in (0.5, 0, 0.9)]


def print_table(title, header, rows):
    """The first column is text, the others are figures.  A row of one cell is a heading."""
    wide = [row for row in [header, *rows] if len(row) > 1]
    width = [max(len(row[i]) for row in wide) for i in range(len(header))]
    print("\n" + title)
    for row in [header, *rows]:
        cells = [row[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(row[1:], width[1:]))]
        print(("  " + "  ".join(cells)).rstrip(), flush=True)
