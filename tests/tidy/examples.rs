//! Each rule against small trees in memory: bad ones that it must refuse, good ones that pass.

use super::{Tree, faults, owner};

/// A tree that every rule accepts.
fn good() -> Tree {
    const MAP: &[&str] = &[
        "//! Map.",
        "//!",
        "//! ```text",
        "//!  9  cli       words",
        "//!  7  proxy     workers",
        "//!     io        sockets",
        "//!  3  compiler",
        "//!     snapshot  the landscape",
        "//!  2  config  identity",
        "//!     contract  the logic",
        "//!  1  http1",
        "//!  0  wire",
        "//!  –  check     apart",
        "//! ```",
    ];
    const NAMES: &[&str] = &[
        "cli", "compiler", "config", "contract", "http1", "identity", "io", "proxy", "snapshot",
        "wire",
    ];
    const MANIFEST: &[&str] = &[
        "[dependencies]",
        "httparse = \"1\"",
        "h2 = \"0.4\"",
        "io-uring = \"0.6\"",
        "sha2 = \"0.11\"",
        "ed25519-dalek = \"3\"",
        "serde_json = \"1\"",
        "[dev-dependencies]",
        "cel = \"1\"",
        "[[bin]]",
        "path = \"src/main.rs\"",
        "[[bin]]",
        "path = \"src/check/main.rs\"",
    ];
    let mut tree = Tree::default();
    let mut put = |path: &str, text: String| tree.files.insert(path.to_owned(), text);
    let declared: String = NAMES.iter().map(|name| format!("pub mod {name};\n")).collect();
    put("src/lib.rs", format!("{}\n\n{declared}", MAP.join("\n")));
    for name in NAMES {
        put(&format!("src/{name}/mod.rs"), format!("//! The module {name}.\n"));
    }
    put("src/main.rs", "//! Main.\nfn main() { caio::cli::main(); }\n".to_owned());
    put("src/check/main.rs", "//! The verifier.\nfn main() {}\n".to_owned());
    put("Cargo.toml", format!("{}\n", MANIFEST.join("\n")));
    tree
}

/// What is wrong with the good tree once `path` holds `text`.
fn with(path: &str, text: &str) -> String {
    let mut tree = good();
    tree.files.insert(path.to_owned(), text.to_owned());
    if path.starts_with("src/") && !path.ends_with("/mod.rs") && path != "src/lib.rs" {
        let root = if owner(path) == "check" { "main" } else { "mod" };
        let parent = format!("src/{}/{root}.rs", owner(path));
        let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
        tree.files.insert(parent, format!("//! Parent.\npub mod {stem};\n"));
    }
    faults(&tree).join("\n")
}

#[track_caller]
fn refused(path: &str, text: &str, what: &str) {
    let faults = with(path, text);
    assert!(faults.contains(what), "{path} should be refused with {what:?}, got {faults:?}");
}

#[track_caller]
fn accepted(path: &str, text: &str) {
    assert_eq!(with(path, text), "", "{path} should be accepted:\n{text}");
}

#[test]
fn a_good_tree_has_no_faults() {
    assert_eq!(faults(&good()), Vec::<String>::new());
}

#[test]
fn imports_that_go_up_are_refused_however_they_are_written() {
    let what = "`wire` (0) must not import `proxy` (7)";
    for text in [
        "use crate::proxy::Worker;\n",
        "use crate::{contract, proxy};\n",
        "use crate::{\n    contract::{a, b::{self, c}},\n    proxy::{Worker as W},\n};\n",
        "use {crate::proxy as p};\n",
        "pub(crate) use super::super::proxy::*;\n",
        "use self::super::super::proxy;\n",
        "fn f() -> crate::proxy::Worker { todo() }\n",
        "fn f(x: &dyn Fn(<crate::proxy::W as T>::U)) {}\n",
        "macro_rules! m { () => { $crate::proxy::f() } }\n",
        "mod inner { fn f() { super::super::super::proxy::f() } }\n",
        "// a comment\n#[cfg(test)]\nmod tests {}\nfn f() { crate :: proxy :: f() }\n",
        "#[cfg(not(test))]\nmod tests { use crate::proxy::f; }\n",
        "const Q: char = '\"'; use crate::proxy::f; const R: char = '\"';\n",
        "fn f<'a>(x: &'a u8) { crate::proxy::f('\\'') }\n",
    ] {
        refused("src/wire/leaf.rs", text, what);
    }
    refused("src/config/mod.rs", "use crate::snapshot::S;\n", "`config` (2)");
}

#[test]
fn what_only_looks_like_an_import_is_accepted() {
    for text in [
        "// use crate::proxy::Worker;\n",
        "/* /* nested */ use crate::proxy; */\n",
        "//! See [`crate::proxy`].\n",
        "const A: &str = \"crate::proxy::f\";\n",
        "const A: &str = \"\\\" crate::proxy::f\";\n",
        "const A: &str = r#\"a \" crate::proxy\"#;\n",
        "const A: &[u8] = br##\"crate::proxy\"# \"##;\n",
        "use super::other;\nuse crate::wire::x;\n",
        "#[cfg(test)]\nmod tests { use crate::proxy::f; mod deep { fn g() { [{ 1 }]; } } }\n",
        "#[cfg(all(test, feature = \"serve\"))]\nuse crate::proxy::f;\n",
    ] {
        accepted("src/wire/leaf.rs", text);
    }
    accepted("src/proxy/leaf.rs", "use crate::{io, wire, snapshot::S};\n");
}

#[test]
fn within_a_layer_only_the_table_says_who_imports_whom() {
    accepted("src/config/leaf.rs", "use crate::contract::logic;\n");
    accepted("src/compiler/leaf.rs", "use crate::snapshot::S;\n");
    refused("src/contract/leaf.rs", "use crate::config::C;\n", "must not import `config`");
    refused("src/snapshot/leaf.rs", "use crate::compiler::C;\n", "must not import `compiler`");
    refused("src/io/leaf.rs", "use crate::contract::C;\n", "`io` (7) must not import `contract`");
    refused("src/io/leaf.rs", "use crate::http1::C;\n", "must not import `http1`");
    refused("src/io/leaf.rs", "use crate::proxy::C;\n", "must not import `proxy`");
}

#[test]
fn cycles_are_named_once() {
    let mut tree = good();
    tree.files.insert("src/proxy/mod.rs".into(), "use crate::io::A;\n".into());
    tree.files.insert("src/io/mod.rs".into(), "use crate::wire::A;\n".into());
    tree.files.insert("src/wire/mod.rs".into(), "use crate::proxy::A;\n".into());
    let found: Vec<String> = faults(&tree).into_iter().filter(|f| f.contains("cycle")).collect();
    assert_eq!(found, ["src: import cycle io -> wire -> proxy -> io"]);
}

#[test]
fn what_is_imported_must_exist_in_tests_too() {
    refused("src/wire/leaf.rs", "#[cfg(test)]\nmod t { use crate::balance::B; }\n", "no `balance`");
    refused("src/cli/leaf.rs", "use crate::nowhere::B;\n", "`crate::nowhere` is in no layer");
}

#[test]
fn a_file_declared_for_tests_is_a_test() {
    for (parent, declaration, child) in [
        ("src/wire/mod.rs", "#[cfg(test)]\nmod tests;\n", "src/wire/tests.rs"),
        ("src/wire/mod.rs", "#[cfg(test)]\n#[path = \"a.rs\"]\nmod tests;\n", "src/wire/a.rs"),
        ("src/io/mod.rs", "#[cfg(test)]\nmod tests;\n", "src/io/tests/mod.rs"),
    ] {
        let mut tree = good();
        let text = "use crate::proxy::f;\nuse std::fs;\n";
        tree.files.insert(child.into(), text.into());
        tree.files.insert(parent.into(), declaration.into());
        assert_eq!(faults(&tree), Vec::<String>::new(), "{child}");
        tree.files.insert(parent.into(), declaration.replace("#[cfg(test)]", ""));
        assert!(faults(&tree).join("\n").contains("must not import `proxy`"), "{child}");
    }
}

#[test]
fn the_verifier_shares_no_code_in_either_direction() {
    refused("src/check/leaf.rs", "use crate::wire::W;\n", "must not import `wire`");
    refused("src/cli/leaf.rs", "use crate::check::C;\n", "`cli` must not import it");
    for text in ["use caio::wire::W;\n", "use caio as c;\n", "fn f() { ::caio::run() }\n"] {
        refused("src/check/leaf.rs", text, "must not name `caio`");
    }
    for text in [
        "#[path = \"../wire/mod.rs\"]\nmod wire;\n",
        "#[ path=\"../wire/mod.rs\" ]\nmod wire;\n",
        "include!(\"../wire/mod.rs\");\n",
        "const A: &str = include_str!(\"../wire/mod.rs\");\n",
    ] {
        refused("src/check/leaf.rs", text, "embeds no file");
    }
    refused("src/cli/leaf.rs", "#[path = \"../check/set.rs\"]\nmod set;\n", "`cli` embeds it");
    refused("src/cli/leaf.rs", "include!(\"../check/set.rs\");\n", "`cli` embeds it");
    let mut tree = good();
    let library = format!("{}pub mod check;\n", tree.text("src/lib.rs"));
    tree.files.insert("src/lib.rs".into(), library);
    assert!(faults(&tree).join("\n").contains("no library declares it"));
}

#[test]
fn the_verifier_names_two_crates_and_reads_files() {
    for name in ["h2::server", "serde_json::Value", "httparse::Request"] {
        refused("src/check/leaf.rs", &format!("use {name};\n"), "`check` must not name the crate");
    }
    refused("src/check/leaf.rs", "fn f() { println!(\"x\") }\n", "only `cli` prints");
    accepted("src/check/leaf.rs", "use ed25519_dalek::Signature;\nuse sha2::Sha256;\n");
    accepted("src/check/leaf.rs", "use super::set::Set;\nuse std::fs::File;\n");
}

#[test]
fn the_binary_only_calls_the_command_line() {
    refused("src/main.rs", "fn main() { caio::proxy::run() }\n", "the binary only calls `cli`");
}

#[test]
fn foreign_crates_are_named_only_where_the_table_lets_them() {
    for text in [
        "use h2::server;\n",
        "fn f() { ::h2::f() }\n",
        "use {h2};\n",
        "use h2 as x;\n",
        "extern crate h2;\n",
        "use io_uring::IoUring;\n",
    ] {
        refused("src/wire/leaf.rs", text, "`wire` must not name the crate");
    }
    refused("src/proxy/leaf.rs", "use httparse::Request;\n", "`proxy` must not name the crate");
    accepted("src/proxy/leaf.rs", "use h2::server;\n");
    accepted("src/http1/leaf.rs", "use httparse::Request;\n");
    accepted("src/wire/leaf.rs", "fn f(h2: u8) { h2.g(); self::h2::f(); }\nmod h2 { }\n");
    accepted("src/wire/leaf.rs", "#[cfg(test)]\nmod t { use h2::server; }\n");
    let mut tree = good();
    tree.files
        .insert("Cargo.toml".into(), "[dependencies]\nnew-one = \"1\"\n\"src/main.rs\"\n".into());
    tree.files.insert("src/cli/mod.rs".into(), "use new_one::f;\n".into());
    assert!(faults(&tree).join("\n").contains("must not name the crate `new_one`"));
}

#[test]
fn the_core_speaks_of_no_clock_socket_thread_or_float() {
    for (text, what) in [
        ("use std::fs;\n", "std::fs"),
        ("use std::{fmt, fs::File};\n", "std::fs"),
        ("fn f(t: std::time::Instant) {}\n", "Instant"),
        ("use std::collections::{BTreeMap, HashMap};\n", "HashMap"),
        ("fn f(x: f64) {}\n", "f64"),
        ("async fn f() {}\n", "async"),
        ("use std::net::{IpAddr, TcpStream};\n", "std::net::TcpStream"),
        ("fn f() { println!(\"x\") }\n", "only `cli` prints"),
    ] {
        refused("src/snapshot/leaf.rs", text, what);
    }
    refused("src/proxy/leaf.rs", "fn f() { let t = Instant::now(); }\n", "only io reads clocks");
    accepted("src/proxy/leaf.rs", "async fn f(t: Instant) {}\n");
    accepted("src/cli/leaf.rs", "fn f() { println!(\"x\") }\n");
    accepted("src/snapshot/leaf.rs", "use std::net::IpAddr;\nuse std::time::Duration;\n");
    accepted("src/snapshot/leaf.rs", "// tidy allows HashMap: only looked up\nuse x::HashMap;\n");
    refused("src/snapshot/leaf.rs", "// tidy allows HashMap:\nuse x::HashMap;\n", "HashMap");
}

#[test]
fn unsafe_stays_in_io_under_its_reason() {
    refused("src/proxy/leaf.rs", "fn f() { unsafe { g() } }\n", "outside src/io");
    refused("src/io/leaf.rs", "fn f() { unsafe { g() } }\n", "without a SAFETY comment");
    accepted("src/io/leaf.rs", "// SAFETY: the pointer lives.\nfn f() { unsafe { g() } }\n");
    let long = "// SAFETY: one\n// two\n// three\n// four\n#[inline]\nunsafe fn f() {}\n";
    accepted("src/io/leaf.rs", long);
    accepted("src/proxy/leaf.rs", "#![deny(unsafe_code)]\nconst A: &str = \"unsafe\";\n");
}

#[test]
fn map_table_and_declarations_agree() {
    let edit = |from: &str, to: &str| {
        let mut tree = good();
        let text = tree.text("src/lib.rs").replace(from, to);
        tree.files.insert("src/lib.rs".into(), text);
        faults(&tree).join("\n")
    };
    assert!(edit("//!  1  http1\n", "").contains("the map does not show `http1`"));
    assert!(edit("//!  1  http1", "//!  4  http1").contains("disagree about `http1`"));
    assert!(edit("pub mod wire;", "pub mod wire;\npub mod odd;").contains("`odd`"));
}

#[test]
fn a_file_that_nothing_declares_is_refused() {
    let mut tree = good();
    tree.files.insert("tests/lost.rs".into(), "//! Lost.\n".into());
    assert!(faults(&tree).join("\n").contains("tests/lost.rs: nothing declares it"));
    let roots = "\"src/main.rs\" \"src/check/main.rs\" \"tests/lost.rs\"\n";
    tree.files.insert("Cargo.toml".into(), roots.into());
    assert_eq!(faults(&tree), Vec::<String>::new());
}

#[test]
fn text_is_written_one_way() {
    let marker = concat!("// TO", "DO later\n");
    for (path, text, what) in [
        ("README.md", "a \n".to_owned(), "white space"),
        ("config/a.toml", "\ta = 1\n".to_owned(), "a tab"),
        ("src/wire/leaf.rs", format!("// {}\n", "é".repeat(98)), "more than 100 characters"),
        ("src/wire/leaf.rs", marker.to_owned(), "do it, or file it"),
        ("perf/rig.py", "a".to_owned(), "ends in no newline"),
        ("perf/rig.py", "a\n\n".to_owned(), "ends in more than one newline"),
        ("src/wire/leaf.rs", "//\n".repeat(901), "more than 900 lines"),
    ] {
        refused(path, &text, what);
    }
    accepted("src/wire/leaf.rs", &format!("// {}\n", "é".repeat(97)));
    accepted("src/wire/leaf.rs", &"//\n".repeat(900));
    let long = format!("// long because it is a table\n{}", "//\n".repeat(901));
    accepted("src/wire/leaf.rs", &long);
}

#[test]
fn a_figure_names_its_results() {
    refused("README.md", "# A\nIt takes 14.5 µs.\n", "no perf/results file");
    refused("README.md", "# A\n30000 req/s\n# B\n`perf/results/x.json`\n", "no perf/results file");
    refused("README.md", "# A\n14 ns `perf/results/x.json`\n", "does not exist");
    refused("perf/results/x.md", "# A\n", "without its raw figures");
    accepted("README.md", "# A\nIn 5 minutes, 3 nsx, µs.\n");
    let mut tree = good();
    tree.files.insert("perf/results/x.json".into(), "{}\n".into());
    tree.files.insert("README.md".into(), "# A\n14 ns, [raw](perf/results/x.json)\n".into());
    assert_eq!(faults(&tree), Vec::<String>::new());
}

#[test]
fn a_unit_says_why() {
    refused("systemd/a.service", "[Service]\nType=exec\n", "without its reason");
    accepted("systemd/a.service", "[Unit]\nA=b\n[Service]\n# It stays.\nType=exec\n");
}
