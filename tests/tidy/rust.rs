//! Just enough of Rust's grammar for the house rules: tokens, the paths they form, and which of
//! them are only compiled for tests. Comments and the contents of strings are no tokens.

use std::collections::BTreeMap;

/// Where something stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// From 1.
    pub(crate) line: usize,
    /// Inside an item under `#[cfg(test)]`, or in a file of tests.
    pub(crate) test: bool,
}

/// An identifier or one character of punctuation.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    span: Span,
}

/// A path as written, after groups are spread out: `use a::{b, c}` gives `a::b` and `a::c`.
struct Spelled {
    segments: Vec<String>,
    /// It began with `::`.
    global: bool,
    /// How deep in inline modules it stands, for `super`.
    depth: usize,
    span: Span,
}

/// One parsed file.
pub(crate) struct Source {
    /// The module that the file is: `["http1", "head"]`; empty for the root and for binaries.
    module: Vec<String>,
    tokens: Vec<Token>,
    paths: Vec<Spelled>,
    comments: BTreeMap<usize, String>,
    text: String,
}

impl Source {
    /// Parses any text; what is no Rust gives odd tokens, never a failure.
    pub(crate) fn read(path: &str, text: &str) -> Self {
        let (mut tokens, comments) = scan(text);
        mark_tests(&mut tokens);
        let paths = spell(&tokens);
        Self { module: module_of(path), tokens, paths, comments, text: text.to_owned() }
    }

    /// The names of the modules declared in the file, inline or not.
    pub(crate) fn modules(&self) -> impl Iterator<Item = String> + '_ {
        self.tokens.windows(3).filter_map(|window| match window {
            [word, name, end] if word.text == "mod" && (end.text == ";" || end.text == "{") => {
                Some(name.text.clone())
            }
            _ => None,
        })
    }

    /// Whether some string names that file, as `#[path = "…"]` and `include!` do.
    pub(crate) fn includes(&self, file: &str) -> bool {
        self.text.contains(&format!("{file}\""))
    }

    /// The files that this one declares under `#[cfg(test)]`, by path: `mod tests;` with or without
    /// `#[path = "…"]`, written straight below the attribute.
    pub(crate) fn test_files(&self, path: &str) -> Vec<String> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let own = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            file => format!("{folder}/{}", file.trim_end_matches(".rs")),
        };
        let mut found = Vec::new();
        for after in self.text.split("#[cfg(test)]").skip(1).map(str::trim_start) {
            let named = |open, close| after.strip_prefix(open)?.split_once(close).map(|it| it.0);
            if let Some(name) = named("#[path = \"", "\"") {
                found.push(format!("{folder}/{name}"));
            } else if let Some(name) = named("mod ", ";") {
                found.extend([format!("{own}/{name}.rs"), format!("{own}/{name}/mod.rs")]);
            }
        }
        found
    }

    /// Everything in the file is only compiled for tests.
    pub(crate) fn mark_all(&mut self) {
        self.tokens.iter_mut().for_each(|token| token.span.test = true);
        self.paths.iter_mut().for_each(|path| path.span.test = true);
    }

    /// The first segment below the crate's root of every path into this crate.
    pub(crate) fn internal_paths(&self) -> Vec<(String, Span)> {
        let mut found = Vec::new();
        for path in self.paths.iter().filter(|path| !path.global) {
            let mut module = self.module.clone();
            module.extend((0..path.depth).map(|_| String::from("(inline)")));
            let mut segments = path.segments.iter();
            let mut rest = segments.as_slice();
            let mut rooted = false;
            while let Some(segment) = segments.next() {
                match segment.as_str() {
                    "crate" | "caio" => module.clear(),
                    "self" => {}
                    "super" => drop(module.pop()),
                    _ => break,
                }
                rooted = true;
                rest = segments.as_slice();
            }
            module.extend(rest.iter().cloned());
            if rooted && !rest.is_empty() {
                found.extend(module.first().map(|first| (first.clone(), path.span)));
            }
        }
        found
    }

    /// Where a foreign crate is named at the start of a path.
    pub(crate) fn external_uses(&self, name: &str) -> Vec<Span> {
        let starts = |path: &&Spelled| path.segments.first().is_some_and(|first| first == name);
        self.paths.iter().filter(starts).map(|path| path.span).collect()
    }

    /// Where a word, or a path that contains these segments in a row, is used.
    pub(crate) fn mentions(&self, name: &str) -> Vec<Span> {
        let wanted: Vec<&str> = name.split("::").collect();
        if let [word] = wanted.as_slice() {
            return self.tokens.iter().filter(|t| t.text == *word).map(|t| t.span).collect();
        }
        let holds = |path: &&Spelled| path.segments.windows(wanted.len()).any(|w| w == wanted);
        self.paths.iter().filter(holds).map(|path| path.span).collect()
    }

    /// Where the macro `name!` is called.
    pub(crate) fn macros(&self, name: &str) -> Vec<Span> {
        let called = self.tokens.windows(2).filter_map(|window| match window {
            [word, bang] if word.text == name && bang.text == "!" => Some(word.span),
            _ => None,
        });
        called.collect()
    }

    /// Where another file is made part of this one: `#[path = "…"]`, `include!` and its kin.
    pub(crate) fn embeds(&self) -> Vec<Span> {
        let paths = self.tokens.windows(3).filter_map(|window| match window {
            [open, word, is] if open.text == "[" && word.text == "path" && is.text == "=" => {
                Some(word.span)
            }
            _ => None,
        });
        let included = ["include", "include_str", "include_bytes"];
        paths.chain(included.into_iter().flat_map(|name| self.macros(name))).collect()
    }

    /// Whether a comment on the line or the one above allows `name` and says why.
    pub(crate) fn excused(&self, line: usize, name: &str) -> bool {
        let wanted = format!("tidy allows {name}:");
        [line, line.saturating_sub(1)].iter().filter_map(|at| self.comments.get(at)).any(
            |comment| comment.split_once(&wanted).is_some_and(|(_, why)| why.trim().len() >= 10),
        )
    }

    /// Whether a comment on the line, or the block of comments that ends up to three lines above
    /// it, holds `word`.
    pub(crate) fn comment_near(&self, line: usize, word: &str) -> bool {
        let nearest = self.comments.range(line.saturating_sub(3)..=line).next_back();
        let Some((&last, _)) = nearest else { return false };
        let block = (1..=last).rev().map_while(|line| self.comments.get(&line));
        block.into_iter().any(|comment| comment.contains(word))
    }
}

fn module_of(path: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs")) else {
        return Vec::new();
    };
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.len() == 1 && module.iter().any(|name| name == "lib" || name == "main") {
        module.clear();
    }
    module.pop_if(|last| last == "mod");
    module
}

/// Splits text into tokens and, by line, comments.
fn scan(text: &str) -> (Vec<Token>, BTreeMap<usize, String>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut comments) = (Vec::new(), BTreeMap::<usize, String>::new());
    let (mut at, mut line) = (0, 1);
    let look = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let from = at;
        let (char, next) = (look(at), look(at + 1));
        let mut token = None;
        if char == '/' && next == '/' {
            while at < chars.len() && look(at) != '\n' {
                at += 1;
            }
        } else if char == '/' && next == '*' {
            at = end_of_block(&look, at, chars.len());
        } else if let Some(end) = end_of_string(&look, at, chars.len()) {
            at = end;
        } else if char == '\'' {
            at = end_of_quote(&look, at);
        } else if char.is_alphanumeric() || char == '_' {
            while look(at).is_alphanumeric() || look(at) == '_' {
                at += 1;
            }
            token = Some(at);
        } else {
            at += 1;
            token = (!char.is_whitespace()).then_some(at);
        }
        let part = || chars.iter().skip(from).take(at - from);
        if let Some(end) = token {
            let text = chars.iter().skip(from).take(end - from).collect();
            tokens.push(Token { text, span: Span { line, test: false } });
        } else if char == '/' {
            let comment: String = part().collect();
            for (offset, row) in comment.lines().enumerate() {
                comments.entry(line + offset).or_default().push_str(row);
            }
        }
        line += part().filter(|char| **char == '\n').count();
    }
    (tokens, comments)
}

/// Block comments nest.
fn end_of_block(look: &impl Fn(usize) -> char, mut at: usize, end: usize) -> usize {
    let mut depth = 0;
    while at < end {
        match (look(at), look(at + 1)) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of a string that starts here, with any prefix (`b`, `c`, `r`, `br`) and hashes.
fn end_of_string(look: &impl Fn(usize) -> char, from: usize, end: usize) -> Option<usize> {
    let mut at = from;
    if matches!(look(at), 'b' | 'c') && matches!(look(at + 1), '"' | 'r') {
        at += 1;
    }
    let raw = look(at) == 'r' && matches!(look(at + 1), '"' | '#');
    at += usize::from(raw);
    let mut hashes = 0;
    while raw && look(at) == '#' {
        (hashes, at) = (hashes + 1, at + 1);
    }
    if look(at) != '"' {
        return None;
    }
    at += 1;
    while at < end {
        match look(at) {
            '\\' if !raw => at += 2,
            '"' if (1..=hashes).all(|step| look(at + step) == '#') => return Some(at + 1 + hashes),
            _ => at += 1,
        }
    }
    Some(end)
}

/// A character literal, or the quote and name of a lifetime.
fn end_of_quote(look: &impl Fn(usize) -> char, from: usize) -> usize {
    if look(from + 1) == '\\' {
        let mut at = from + 3;
        while !matches!(look(at), '\'' | '\n' | '\0') {
            at += 1;
        }
        return at + 1;
    }
    if look(from + 2) == '\'' {
        return from + 3;
    }
    let mut at = from + 1;
    while look(at).is_alphanumeric() || look(at) == '_' {
        at += 1;
    }
    at
}

/// Marks each item under an attribute that needs `test`: `cfg(test)`, `cfg(all(test, …))`, `test`.
fn mark_tests(tokens: &mut [Token]) {
    let text =
        |tokens: &[Token], at: usize| tokens.get(at).map_or(String::new(), |t| t.text.clone());
    let mut at = 0;
    while at < tokens.len() {
        if text(tokens, at) != "#" || text(tokens, at + 1) != "[" {
            at += 1;
            continue;
        }
        let end = end_of_group(tokens, at + 1);
        let words: Vec<String> = (at + 2..end).map(|i| text(tokens, i)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let test = matches!(
            words.as_slice(),
            ["test", "]"] | ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test", ..]
        );
        if !test {
            at = end;
            continue;
        }
        // The item: further attributes, then everything to its `;` or the end of its braces.
        let mut last = end;
        while last < tokens.len() {
            match text(tokens, last).as_str() {
                ";" => break,
                "{" => {
                    let group = end_of_group(tokens, last);
                    // `use a::{b};` goes on after its braces; a body does not.
                    if text(tokens, group) == ";" || last < end {
                        last = group;
                    } else {
                        last = group - 1;
                    }
                    break;
                }
                "(" | "[" => last = end_of_group(tokens, last),
                _ => last += 1,
            }
        }
        for token in tokens.iter_mut().take(last + 1).skip(at) {
            token.span.test = true;
        }
        at = last + 1;
    }
}

/// The place after the bracket that closes the one at `open`.
fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Every path of the file, with groups spread out.
fn spell(tokens: &[Token]) -> Vec<Spelled> {
    let mut speller = Speller { tokens, at: 0, found: Vec::new(), modules: Vec::new(), braces: 0 };
    while speller.at < tokens.len() {
        speller.step();
    }
    speller.found
}

struct Speller<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Spelled>,
    /// The brace depth at which each open inline module began.
    modules: Vec<usize>,
    braces: usize,
}

impl Speller<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text.as_str())
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.text(ahead).starts_with(|first: char| first.is_alphabetic() || first == '_')
    }

    fn at_colons(&self, ahead: usize) -> bool {
        self.text(ahead) == ":" && self.text(ahead + 1) == ":"
    }

    fn step(&mut self) {
        match self.text(0) {
            "mod" if self.is_word(1) && self.text(2) == "{" => {
                self.modules.push(self.braces);
                self.braces += 1;
                self.at += 3;
            }
            "{" => {
                self.braces += 1;
                self.at += 1;
            }
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                self.modules.pop_if(|depth| *depth == self.braces);
                self.at += 1;
            }
            "use" => {
                self.at += 1;
                self.tree(&[], false);
            }
            "crate" if self.text(1) != ":" && self.at > 0 => self.external_crate(),
            _ if self.at_colons(0) && self.starts_path() => {
                self.at += 2;
                self.path(&[], true);
            }
            _ if self.is_word(0) => self.path(&[], false),
            _ => self.at += 1,
        }
    }

    /// Whether the colons here open a path, rather than follow a type: `<T>::f`.
    fn starts_path(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        self.is_word(2) && before.is_none_or(|token| token.text != ">")
    }

    /// `extern crate h2;` names what no path does.
    fn external_crate(&mut self) {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let external = before.is_some_and(|token| token.text == "extern");
        self.at += 1;
        if external && self.is_word(0) {
            let name = self.text(0).to_owned();
            self.push(vec![name], true);
        }
    }

    /// A path in an expression, a type or an attribute; only one of two segments or more counts.
    fn path(&mut self, before: &[String], global: bool) {
        let mut segments = before.to_vec();
        let from = self.at;
        while self.is_word(0) {
            segments.push(self.text(0).to_owned());
            self.at += 1;
            if !self.at_colons(0) || !self.tokens.get(self.at + 2).is_some_and(|_| self.is_word(2))
            {
                break;
            }
            self.at += 2;
        }
        if segments.len() > 1 || global {
            let here = std::mem::replace(&mut self.at, from);
            self.push(segments, global);
            self.at = here;
        }
    }

    /// What follows `use`: a path, a group, or a path that ends in a group.
    fn tree(&mut self, before: &[String], mut global: bool) {
        let mut segments = before.to_vec();
        if self.at_colons(0) {
            global = true;
            self.at += 2;
        }
        while self.is_word(0) || self.text(0) == "*" {
            let from = self.at;
            segments.push(self.text(0).to_owned());
            self.at += 1;
            if self.at_colons(0) {
                self.at += 2;
                continue;
            }
            let here = std::mem::replace(&mut self.at, from);
            self.push(segments, global);
            self.at = here;
            if self.text(0) == "as" {
                self.at += 2;
            }
            return;
        }
        if self.text(0) == "{" {
            self.at += 1;
            while self.at < self.tokens.len() && self.text(0) != "}" {
                let from = self.at;
                self.tree(&segments, global);
                if self.text(0) == "," || self.at == from {
                    self.at += 1;
                }
            }
            self.at += 1;
        }
    }

    fn push(&mut self, segments: Vec<String>, global: bool) {
        if let Some(token) = self.tokens.get(self.at) {
            let (depth, span) = (self.modules.len(), token.span);
            self.found.push(Spelled { segments, global, depth, span });
        }
    }
}
