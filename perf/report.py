"""A run's raw figures as a page for people: medians, spread, and ratios within the same run."""

import statistics

RULES = """\
Processor time is user plus system time of all the proxy's processes and threads, from
/proc/PID/stat, divided by the requests answered in the same window; the kernel knows the sum exactly
and samples how it divides into user and system. It repeats where requests per
second do not, so it is the figure to compare, as a ratio and within one run. Every proxy runs one
worker pinned to one core; load generator and origin have the others. The proxies are taken in turn,
round after round; a cell is the median of its rounds, with the lowest and highest in brackets.
Latencies are of a closed loop at full load, in microseconds: they rank queues, not users'
experience."""


def median_of(rounds, key):
    values = [one[key] for one in rounds if one.get(key) is not None]
    return statistics.median(values) if values else None


def number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def spread(rounds, key, digits=1):
    values = [one[key] for one in rounds if one.get(key) is not None]
    if not values:
        return "–"
    middle = number(statistics.median(values), digits)
    return f"{middle} ({number(min(values), digits)}–{number(max(values), digits)})"


def ratio(mine, theirs):
    return "–" if not mine or not theirs else f"{mine / theirs:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def load_table(proxies):
    base = {name: median_of(proxies.get(name, []), "cpu_us") for name in ("nginx", "haproxy")}
    rows = []
    for name, rounds in proxies.items():
        own = median_of(rounds, "cpu_us")
        rows.append([
            name, spread(rounds, "cpu_us"), number(median_of(rounds, "user_us")),
            number(median_of(rounds, "system_us")), ratio(own, base["nginx"]),
            ratio(own, base["haproxy"]), spread(rounds, "requests_per_second", 0),
            number(median_of(rounds, "p50_us"), 0), number(median_of(rounds, "p99_us"), 0),
            number(median_of(rounds, "p999_us"), 0),
            number(median_of(rounds, "resident_mib")), str(sum(one["errors"] for one in rounds)),
        ])
    return table(["proxy", "CPU µs per request", "user", "system", "× nginx", "× haproxy",
                  "requests per second", "p50", "p99", "p99.9", "resident MiB", "errors"], rows)


def paced_table(proxies):
    rows = [[name, number(median_of(rounds, "rate"), 0), spread(rounds, "p50_us", 0),
             spread(rounds, "p99_us", 0), spread(rounds, "p999_us", 0),
             str(sum(one["errors"] for one in rounds))] for name, rounds in proxies.items()]
    return table(["proxy", "requests offered per second", "p50", "p99", "p99.9", "errors"], rows)


def idle_table(proxies):
    rows = [[name, number(median_of(rounds, "connections"), 0),
             spread(rounds, "bytes_per_connection", 0), number(median_of(rounds, "empty_mib")),
             number(median_of(rounds, "full_mib"))] for name, rounds in proxies.items()]
    return table(["proxy", "connections", "bytes per idle connection", "resident MiB before",
                  "resident MiB with them"], rows)


def scale_note(proxies):
    """What size costs: the same binary with a large landscape, against its own small one."""
    small = median_of(proxies.get("caio", []), "cpu_us")
    notes = [f"`{name}` costs {ratio(median_of(rounds, 'cpu_us'), small)} of `caio` per request."
             for name, rounds in proxies.items() if name.startswith("caio-") and small]
    return "\n".join(notes)


def page(result, raw_name):
    machine, settings = result["machine"], result["settings"]
    out = [
        "# Measured against the field", "",
        f"Raw figures: `{raw_name}`, commit `{result['commit']}`, {machine['time']}.", "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}, "
        f"SMT {machine['smt']}, governor {machine['governor']}, {machine['network']}; load average "
        f"at the start {machine['load_average_at_start']:.2f}.",
        f"Cores: proxy {settings['proxy_core']}, load and origin {settings['load_cores']}. "
        f"{settings['rounds']} rounds of {settings['duration']} s after {settings['warmup']} s of "
        "warm-up.", "", "Versions: " + "; ".join(
            f"{name}: {text}" for name, text in result["versions"].items() if text) + ".",
        "", RULES,
    ]
    for name, scenario in result["scenarios"].items():
        out += ["", f"## {name}", "", scenario["title"], ""]
        proxies = scenario["proxies"]
        if scenario.get("direct"):
            rate = number(scenario["direct"]["requests_per_second"], 0)
            out += [f"The origin alone, asked directly, answers {rate} requests per second.", ""]
        out.append(idle_table(proxies) if scenario["kind"] == "idle" else load_table(proxies))
        if scenario.get("paced"):
            out += ["", "Open loop, the same offered rate for all (half of what the slowest "
                    "reached):", "", paced_table(scenario["paced"])]
        if scale_note(proxies):
            out += ["", scale_note(proxies)]
        for peer, why in scenario.get("missing", {}).items():
            out += ["", f"Not measured: {peer}: {why}."]
    return "\n".join(out) + "\n"
