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


ATTACK_RULES = """\
The load is paced at well below what any proxy reaches. *Quiet* is that load alone, *control* the same
beside the attack's generator aimed at a sink, *attacked* beside the attack itself; the generator
shares its cores with the load, so attacked ÷ control is what the proxy does, and attacked ÷ quiet
what the callers of this machine saw. Latencies are medians of rounds, in µs, with the lowest and
highest of p99 in brackets. What else runs on a machine only ever adds to a latency, so where rounds
differ widely the ratio of the lowest ones says more. *Without a core* is the share of the attacked window in which the proxy could have run and another program had its core:
where it is more than a few percent, the latencies are that program's. Deadlines are shortened, the
same for all, so that the window sees them end connections."""


def endings(rounds):
    """How an attack's connections ended, over all rounds, the most frequent first."""
    total, kept = {}, 0
    for one in rounds:
        kept += one["attack"]["unjudged"] + one["attack"]["refused"]
        for how, count in one["attack"]["endings"].items():
            total[how] = total.get(how, 0) + count
    parts = [f"{count} {how}" for how, count in sorted(total.items(), key=lambda at: -at[1])]
    return "; ".join(parts + ([f"{kept} too short to tell"] if kept else [])) or "none"


def attack_rows(name, proxies):
    for proxy, one in proxies.items():
        quiet, control, attacked = (one["phases"][key] for key in ("quiet", "control", "attacked"))
        median = lambda rounds, key, digits=0: number(median_of(rounds, key), digits)
        p99 = [median_of(rounds, "p99_us") for rounds in (quiet, control, attacked)]
        lowest = [min((part["p99_us"] for part in rounds if part["p99_us"]), default=0)
                  for rounds in (quiet, control, attacked)]
        errors = ["/".join(str(sum(part["errors"] for part in rounds))
                           for rounds in (quiet, control, attacked))]
        share = lambda rounds, key: number(100 * (median_of(rounds, key) or 0), 0)
        lasted = [{"s": part["attack"]["lasted_p50_s"]} for part in attacked]
        yield [
            name, proxy, median(quiet, "p50_us"), median(attacked, "p50_us"),
            *(spread(rounds, "p99_us", 0) for rounds in (quiet, control, attacked)),
            median(quiet, "p999_us"), median(attacked, "p999_us"), ratio(p99[2], p99[0]),
            ratio(p99[2], p99[1]), ratio(lowest[2], min(lowest[:2])), *errors,
            f"{share(quiet, 'cpu_share')}/{share(attacked, 'cpu_share')}",
            share(attacked, "waited_share"),
            f"{number(attacked[0]['resident_before_mib'])}/"
            f"{number(max(part['resident_peak_mib'] for part in attacked))}/"
            f"{number(attacked[-1]['resident_after_mib'])}",
            str(sum(part["attack"]["begun"] for part in attacked)),
            number(median_of(lasted, "s"), 2), endings(attacked),
        ]


def attack_table(attacks):
    head = ["attack", "proxy", "p50 quiet", "p50 attacked", "p99 quiet", "p99 control",
            "p99 attacked", "p99.9 quiet", "p99.9 attacked", "p99 ÷ quiet", "p99 ÷ control",
            "lowest ÷ lowest unattacked", "errors quiet/control/attacked", "CPU % quiet/attacked", "% without a core",
            "MiB before/peak/after", "hostile connections", "lasted s", "how they ended"]
    return table(head, [row for name, proxies in attacks.items()
                        for row in attack_rows(name, proxies)])


def attack_notes(attacks):
    titles = {name: next(iter(proxies.values()))["title"]
              for name, proxies in attacks.items() if proxies}
    return "\n".join(f"- `{name}`: {title}." for name, title in titles.items())


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
        if scenario["kind"] == "attack":
            attacks = scenario.get("attacks", {})
            out += [ATTACK_RULES, "", attack_notes(attacks), "", attack_table(attacks)]
        else:
            out.append(idle_table(proxies) if scenario["kind"] == "idle" else load_table(proxies))
        if scenario.get("paced"):
            out += ["", "Open loop, the same offered rate for all (half of what the slowest "
                    "reached):", "", paced_table(scenario["paced"])]
        if scale_note(proxies):
            out += ["", scale_note(proxies)]
        for peer, why in scenario.get("missing", {}).items():
            out += ["", f"Not measured: {peer}: {why}."]
    return "\n".join(out) + "\n"
