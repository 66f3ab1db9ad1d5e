//! The house rules that no compiler checks: layers, cycles, foreign crates, names a layer may not
//! speak, unreachable files, and how text is written. Each rule is tested here against a small bad
//! tree that it must refuse, so that a rule which stopped working is seen.

#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/rust.rs"]
mod rust;

use rust::{Source, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every module of the library with its layer, as drawn in `src/lib.rs`. `check` stands apart: it
/// is a binary with a root of its own.
const LAYERS: &[(&str, u8)] = &[
    ("wire", 0),
    ("http1", 1),
    ("http2", 1),
    ("contract", 2),
    ("config", 2),
    ("identity", 2),
    ("snapshot", 3),
    ("compiler", 3),
    ("registry", 3),
    ("balance", 4),
    ("decide", 4),
    ("prover", 4),
    ("certify", 5),
    ("audit", 5),
    ("governance", 5),
    ("exchange", 6),
    ("io", 7),
    ("proxy", 7),
    ("admin", 8),
    ("cli", 9),
];
/// Within one layer, who may import whom; a cycle is refused all the same.
const BESIDE: &[(&str, &str)] = &[
    ("config", "contract"),
    ("identity", "contract"),
    ("identity", "config"),
    ("compiler", "snapshot"),
    ("decide", "balance"),
    ("audit", "certify"),
    ("proxy", "io"),
];
/// Modules that may import less than their layer would let them.
const ONLY: &[(&str, &[&str])] = &[("io", &["wire"])];
/// Shares no code with anything, in either direction: it re-checks what the others claim. Only what
/// hashes and what verifies signatures is the same, because neither is ours.
const APART: &str = "check";
/// The first layer that may touch a socket, a clock or a thread.
const IO_LAYER: u8 = 7;

/// Foreign crates, and the modules that may name them. `main` is the binary's own file.
const CRATES: &[(&str, &[&str])] = &[
    ("httparse", &["http1"]),
    ("toml", &["wire", "config", "contract"]),
    ("ed25519_dalek", &["audit", APART]),
    (
        "sha2",
        &[
            "wire",
            "contract",
            "config",
            "snapshot",
            "compiler",
            "registry",
            "certify",
            "audit",
            "governance",
            APART,
        ],
    ),
    ("aws_lc_rs", &["identity", "io"]),
    ("base64", &["audit", "config", "identity", "governance"]),
    ("x509_parser", &["identity", "io"]),
    ("zeroize", &["identity", "audit", "io", "cli"]),
    ("prost", &["governance", "prover"]),
    ("rustls", &["io", "proxy", "admin"]),
    ("ureq", &["admin"]),
    ("redb", &["admin"]),
    (
        "serde_json",
        &[
            "wire", "registry", "config", "identity", "prover", "certify", "audit", "exchange",
            "admin", "cli",
        ],
    ),
    ("arc_swap", &["io", "proxy", "admin", "cli"]),
    ("bytes", &["io", "proxy", "admin", "cli"]),
    ("h2", &["io", "proxy", "admin", "cli"]),
    ("http", &["io", "proxy", "admin", "cli"]),
    ("io_uring", &["io"]),
    ("libc", &["io", "proxy", "admin", "cli"]),
    ("mimalloc", &["main"]),
    ("monoio", &["io", "proxy", "admin", "cli"]),
    ("socket2", &["io", "proxy", "admin", "cli"]),
    ("tokio", &["io", "proxy", "admin", "cli"]),
];

/// Names that no module below `io` may speak, and why. A comment on the line or the line above,
/// `tidy allows HashMap: keys are looked up and never listed`, is the reasoned exception.
const PURE: &[(&str, &str)] = &[
    ("std::fs", "the core does no IO: take the bytes as an argument"),
    ("std::net::TcpStream", "the core does no IO"),
    ("std::net::TcpListener", "the core does no IO"),
    ("std::net::UdpSocket", "the core does no IO"),
    ("std::os", "the core does no IO"),
    ("std::env", "the core reads no surroundings: take the value as an argument"),
    ("std::process", "the core starts and ends no process"),
    ("std::thread", "the core has no threads"),
    ("std::io::stdin", "the core does no IO"),
    ("std::io::stdout", "the core does no IO: return the text"),
    ("std::io::stderr", "the core does no IO: return the text"),
    ("Instant", "the core reads no clock: take the time as an argument"),
    ("SystemTime", "the core reads no clock: take the time as an argument"),
    ("HashMap", "its order differs from run to run: BTreeMap"),
    ("HashSet", "its order differs from run to run: BTreeSet"),
    ("RandomState", "it differs from run to run: take a seed as an argument"),
    ("Mutex", "the core has no threads"),
    ("RwLock", "the core has no threads"),
    ("Condvar", "the core has no threads"),
    ("f32", "floats round: scaled integers"),
    ("f64", "floats round: scaled integers"),
    ("async", "the core never awaits: a state machine"),
    ("await", "the core never awaits: a state machine"),
];
/// Names that a worker may not speak.
const WORKER: &[(&str, &str)] = &[
    ("std::fs", "blocks the worker: read files before it starts"),
    ("std::net::TcpStream", "blocks the worker: the ring's own"),
    ("Instant::now", "only io reads clocks"),
    ("SystemTime::now", "only io reads clocks"),
    ("std::env", "settings come from the configuration"),
    ("Mutex", "no lock on the request path"),
    ("RwLock", "no lock on the request path"),
];
/// Macros that panic when their pipe is closed, so that only words for people may use them.
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln"];

const LINE_CHARS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 900;

/// The project's text files, by path from the root.
#[derive(Clone, Default)]
struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        for top in [
            "src",
            "tests",
            "benches",
            "perf",
            "config",
            "systemd",
            ".ci",
            "README.md",
            "Cargo.toml",
            ".clippy.toml",
            ".deny.toml",
            ".rustfmt.toml",
            ".gitignore",
        ] {
            tree.add(root, top);
        }
        tree
    }

    /// Skips what git ignores (`perf/out`) and what is bytes rather than text (corpora).
    fn add(&mut self, root: &Path, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path == "perf/out" || matches!(name, "corpus" | "target" | "__pycache__") {
            return;
        }
        let full = root.join(path);
        if let Ok(entries) = std::fs::read_dir(&full) {
            for entry in entries.flatten() {
                if let Some(name) = entry.file_name().to_str() {
                    self.add(root, &format!("{path}/{name}"));
                }
            }
        } else if let Ok(text) = std::fs::read_to_string(&full) {
            self.files.insert(path.to_owned(), text);
        }
    }

    fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Every Rust file, parsed; those that another file declares for tests are marked as such.
    fn rust(&self) -> Vec<(&str, Source)> {
        let rust = self.files.iter().filter(|(path, _)| path.ends_with(".rs"));
        let mut sources: Vec<(&str, Source)> =
            rust.map(|(path, text)| (path.as_str(), Source::read(path, text))).collect();
        let tests: BTreeSet<String> =
            sources.iter().flat_map(|(path, source)| source.test_files(path)).collect();
        for (path, source) in &mut sources {
            if tests.contains(*path) {
                source.mark_all();
            }
        }
        sources
    }
}

/// Everything wrong with a tree, one line each, in order of path.
fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    let modules = library_modules(tree);
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let sources = tree.rust();
    for (path, source) in &sources {
        unsafe_faults(path, source, &mut faults);
        if path.starts_with("src/") {
            import_faults(path, source, &modules, &mut imports, &mut faults);
            crate_faults(path, source, tree, &mut faults);
            name_faults(path, source, &mut faults);
            apart_faults(path, tree.text(path), source, &mut faults);
        }
    }
    cycle_faults(&imports, &mut faults);
    map_faults(tree, &modules, &mut faults);
    reach_faults(tree, &sources, &mut faults);
    for (path, text) in &tree.files {
        text_faults(path, text, &mut faults);
        figure_faults(tree, path, text, &mut faults);
        unit_faults(path, text, &mut faults);
    }
    faults.sort();
    faults
}

/// The modules that `src/lib.rs` declares.
fn library_modules(tree: &Tree) -> BTreeSet<String> {
    Source::read("src/lib.rs", tree.text("src/lib.rs")).modules().collect()
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn known(module: &str) -> Option<&'static str> {
    LAYERS.iter().map(|(name, _)| *name).chain([APART]).find(|name| *name == module)
}

/// The module a file belongs to: `src/http1/head.rs` and `src/http1.rs` to `http1`; `src/main.rs`
/// and `src/bin/*` to the binaries, which may use what is in the library's top layer.
fn owner(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn import_faults<'a>(
    path: &str,
    source: &Source,
    modules: &BTreeSet<String>,
    imports: &mut BTreeMap<&'a str, BTreeSet<&'a str>>,
    faults: &mut Vec<String>,
) {
    let from = owner(path);
    for (target, span) in source.internal_paths() {
        let at = format!("{path}:{}", span.line);
        // A macro or function at the root, or `crate` alone, has no module to check.
        let Some(to) = known(&target) else {
            let named = target.starts_with(|first: char| first.is_ascii_lowercase());
            if from != "lib" && named && !modules.contains(&target) {
                faults.push(format!("{at}: `crate::{target}` is in no layer"));
            }
            continue;
        };
        if from == to || from == "lib" {
            continue;
        }
        if !modules.contains(to) {
            faults.push(format!("{at}: src/lib.rs declares no `{to}`"));
        }
        if span.test {
            continue;
        }
        if to == APART && from != "bin" {
            faults.push(format!("{at}: `{APART}` stands apart, `{from}` must not import it"));
            continue;
        }
        if from == APART {
            faults.push(format!("{at}: `{APART}` stands apart and must not import `{to}`"));
            continue;
        }
        if let (Some(low), Some(from)) = (layer_of(to), known(from)) {
            imports.entry(from).or_default().insert(to);
            let high = layer_of(from).unwrap_or(0);
            let beside = BESIDE.contains(&(from, to));
            let fits = ONLY.iter().all(|(name, only)| *name != from || only.contains(&to));
            if low > high || (low == high && !beside) || !fits {
                faults.push(format!("{at}: `{from}` ({high}) must not import `{to}` ({low})"));
            }
        } else if from == "main" && to != "cli" {
            faults.push(format!("{at}: the binary only calls `cli`, not `{to}`"));
        }
    }
}

/// The verifier's files are its own, and nobody else's: neither as modules, nor as the library
/// beside its binary, nor by their paths.
fn apart_faults(path: &str, text: &str, source: &Source, faults: &mut Vec<String>) {
    let from = owner(path);
    if from == APART {
        for Span { line, .. } in source.external_uses("caio") {
            faults.push(format!("{path}:{line}: `{APART}` stands apart and must not name `caio`"));
        }
        for Span { line, .. } in source.embeds() {
            faults.push(format!("{path}:{line}: `{APART}` stands apart and embeds no file"));
        }
        return;
    }
    if from == "lib" && source.modules().any(|module| module == APART) {
        faults.push(format!("{path}: `{APART}` stands apart, no library declares it"));
    }
    for Span { line, .. } in source.embeds() {
        let line_of = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        if line_of.contains(&format!("{APART}/")) {
            faults.push(format!("{path}:{line}: `{APART}` stands apart, `{from}` embeds it"));
        }
    }
}

/// A module that reaches itself through others, each cycle named once from its smallest member.
fn cycle_faults(imports: &BTreeMap<&str, BTreeSet<&str>>, faults: &mut Vec<String>) {
    fn walk<'a>(
        imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        trail: &mut Vec<&'a str>,
        faults: &mut Vec<String>,
    ) {
        let (Some(&first), Some(&last)) = (trail.first(), trail.last()) else { return };
        for &next in imports.get(last).into_iter().flatten() {
            if next == first {
                faults.push(format!("src: import cycle {} -> {first}", trail.join(" -> ")));
            } else if next > first && !trail.contains(&next) {
                trail.push(next);
                walk(imports, trail, faults);
                trail.pop();
            }
        }
    }
    for &start in imports.keys() {
        walk(imports, &mut vec![start], faults);
    }
}

/// The package's own dependencies, as they are named in code; not those of tests.
fn dependencies(tree: &Tree) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in tree.text("Cargo.toml").lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line.ends_with(".dependencies]");
        } else if inside
            && let Some((name, _)) = line.split_once('=')
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

fn crate_faults(path: &str, source: &Source, tree: &Tree, faults: &mut Vec<String>) {
    let from = owner(path);
    for name in dependencies(tree) {
        let users = CRATES.iter().find(|(known, _)| *known == name).map(|(_, users)| *users);
        // A child module of that name (`proxy::http`) is meant instead, as in Rust itself.
        if users.is_some_and(|users| users.contains(&from)) || source.modules().any(|m| m == name) {
            continue;
        }
        for span in source.external_uses(&name) {
            if !span.test {
                let at = format!("{path}:{}", span.line);
                faults.push(format!("{at}: `{from}` must not name the crate `{name}`"));
            }
        }
    }
}

fn name_faults(path: &str, source: &Source, faults: &mut Vec<String>) {
    let from = owner(path);
    let banned = match layer_of(from) {
        Some(layer) if layer < IO_LAYER => PURE,
        None if from == APART => &[],
        _ if from == "proxy" => WORKER,
        _ => &[],
    };
    for (name, why) in banned {
        for span in source.mentions(name) {
            let last = name.rsplit("::").next().unwrap_or(name);
            if !span.test && !source.excused(span.line, last) {
                faults.push(format!("{path}:{}: `{name}` in `{from}`: {why}", span.line));
            }
        }
    }
    if !matches!(from, "cli" | "main" | "bin") {
        for span in PRINTS.iter().flat_map(|name| source.macros(name)).filter(|span| !span.test) {
            faults.push(format!("{path}:{}: only `cli` prints", span.line));
        }
    }
}

fn unsafe_faults(path: &str, source: &Source, faults: &mut Vec<String>) {
    for Span { line, .. } in source.mentions("unsafe") {
        if !path.starts_with("src/io/") && path != "src/io.rs" {
            faults.push(format!("{path}:{line}: `unsafe` outside src/io"));
        } else if !source.comment_near(line, "SAFETY:") {
            faults.push(format!("{path}:{line}: `unsafe` without a SAFETY comment above it"));
        }
    }
}

/// The drawing at the top of `src/lib.rs` and the table above say the same.
fn map_faults(tree: &Tree, modules: &BTreeSet<String>, faults: &mut Vec<String>) {
    let mut drawn: BTreeMap<&str, u8> = BTreeMap::new();
    let mut layer = None;
    let map = tree.text("src/lib.rs").lines().filter_map(|line| line.strip_prefix("//! "));
    for line in map.skip_while(|line| !line.starts_with("```")).skip(1) {
        if line.starts_with("```") {
            break;
        }
        let mut words = line.split_whitespace().peekable();
        if let Some(number) = words.peek().and_then(|word| word.parse().ok()) {
            layer = Some(number);
            words.next();
        }
        words.next_if_eq(&"–");
        // Names stand before the first word that is not a module.
        for name in words.map_while(known) {
            drawn.extend(layer.map(|layer| (name, layer)));
            if name == APART {
                drawn.insert(APART, 0);
            }
        }
    }
    for module in modules {
        match (drawn.get(module.as_str()), layer_of(module)) {
            (None, _) => faults.push(format!("src/lib.rs: the map does not show `{module}`")),
            (Some(_), None) if module == APART => {}
            (Some(drawn), Some(layer)) if *drawn == layer => {}
            _ => faults.push(format!("src/lib.rs: map and table disagree about `{module}`")),
        }
    }
}

/// With `autotests` off, a file that nothing names is silently neither compiled nor run.
fn reach_faults(tree: &Tree, sources: &[(&str, Source)], faults: &mut Vec<String>) {
    let manifest = tree.text("Cargo.toml");
    for (path, _) in sources {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = match file.strip_suffix(".rs").unwrap_or(file) {
            "mod" => folder.rsplit('/').next().unwrap_or(folder),
            stem => stem,
        };
        let rooted = *path == "src/lib.rs" || manifest.contains(&format!("\"{path}\""));
        let declared = sources.iter().any(|(parent, source)| {
            parent != path && (source.modules().any(|m| m == stem) || source.includes(file))
        });
        if !rooted && !declared {
            faults.push(format!("{path}: nothing declares it, so nothing compiles it"));
        }
    }
}

fn text_faults(path: &str, text: &str, faults: &mut Vec<String>) {
    // Split, so that this file does not name them.
    let markers =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    for (number, line) in (1..).zip(text.lines()) {
        let at = format!("{path}:{number}");
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(format!("{at}: white space at the end of the line"));
        }
        if line.contains('\t') {
            faults.push(format!("{at}: a tab"));
        }
        if path.ends_with(".rs") && line.chars().count() > LINE_CHARS_MAX {
            faults.push(format!("{at}: more than {LINE_CHARS_MAX} characters"));
        }
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(marker) = words.find(|word| markers.contains(word)) {
            faults.push(format!("{at}: `{marker}`: do it, or file it"));
        }
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        faults.push(format!(
            "{path}: ends in {} newline",
            if text.ends_with('\n') { "more than one" } else { "no" }
        ));
    }
    let first = text.lines().next().unwrap_or("");
    let excused = first.starts_with("//") && first.contains("long because ");
    if path.ends_with(".rs") && text.lines().count() > FILE_LINES_MAX && !excused {
        faults.push(format!(
            "{path}: more than {FILE_LINES_MAX} lines, and line 1 says no `long because …`"
        ));
    }
}

/// A measured figure in a Markdown file stands in a section that names the results it comes from.
fn figure_faults(tree: &Tree, path: &str, text: &str, faults: &mut Vec<String>) {
    if !path.ends_with(".md") {
        return;
    }
    if let Some(stem) = path.strip_suffix(".md")
        && path.starts_with("perf/results/")
        && !tree.files.contains_key(&format!("{stem}.json"))
    {
        faults.push(format!("{path}: a report without its raw figures, {stem}.json"));
    }
    let mut section: Vec<(usize, &str)> = Vec::new();
    let mut close = |section: &mut Vec<(usize, &str)>| {
        let cited: Vec<&str> = section
            .iter()
            .flat_map(|(_, line)| line.split(['(', ')', '`', ' ', '<', '>']))
            .filter_map(|word| word.find("results/").and_then(|at| word.get(at..)))
            .filter(|word| word.ends_with(".json"))
            .collect();
        for name in &cited {
            if !tree.files.contains_key(&format!("perf/{name}")) {
                faults.push(format!("{path}: cites perf/{name}, which does not exist"));
            }
        }
        if let Some((line, _)) = section.iter().find(|(_, line)| is_figure(line))
            && cited.is_empty()
        {
            faults.push(format!("{path}:{line}: a figure, and no perf/results file beside it"));
        }
        section.clear();
    };
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') {
            close(&mut section);
        }
        section.push((number, line));
    }
    close(&mut section);
}

/// `14.5 µs`, `200ns`, `30000 req/s`: a number, then a unit that only a measurement has.
fn is_figure(line: &str) -> bool {
    ["µs", "ns", "req/s", "rps"].iter().any(|unit| {
        line.match_indices(unit).any(|(at, _)| {
            let before = line.get(..at).unwrap_or("").trim_end_matches(' ');
            let after = line.get(at + unit.len()..).and_then(|rest| rest.chars().next());
            before.ends_with(|c: char| c.is_ascii_digit())
                && !after.is_some_and(|c| c.is_alphanumeric())
        })
    })
}

/// In a unit's `[Service]` each setting stands under its reason.
fn unit_faults(path: &str, text: &str, faults: &mut Vec<String>) {
    if !path.ends_with(".service") {
        return;
    }
    let (mut inside, mut above) = (false, "");
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('[') {
            inside = line == "[Service]";
        } else if inside && line.contains('=') && !line.starts_with('#') && !above.starts_with('#')
        {
            faults.push(format!("{path}:{number}: a setting without its reason above it"));
        }
        above = line;
    }
}

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.files.contains_key("src/lib.rs"), "the tree was not found");
    let faults = faults(&tree);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
