//! The expression language: a subset of CEL whose every atom speaks of one attribute.
//!
//! ```text
//! expr = and { "||" and } ;  and = unary { "&&" unary } ;
//! unary = "!" unary | "(" expr ")" | atom ;
//! atom = attr [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) lit ]
//!      | attr "in" "[" lit { "," lit } "]"
//!      | attr "." method "(" ( string | "[" string { "," string } "]" ) ")"
//!      | attr "(" duration ")" ( "<=" | … ) ratio ;
//! ```

use super::complaint::{Complaint, Objection, quoted, suggest};
use super::lexer::{Token, Word, lex};
use super::logic::Cnf;
use super::normal;
use super::predicate::{self, Literal, Predicate, Relation};
use super::vocabulary::{Declared, Kind, Side, Vocabulary};
use crate::wire::limits::{COMPLAINTS_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// Which attributes an expression may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of request and caller: demands and `when`.
    Facts,
    /// Those that services promise: requirements.
    Promises,
    /// All: those of request and caller as they are called, and those that services promise behind
    /// `service.`, for what is said of a whole landscape.
    Everything,
}

/// One predicate of one attribute, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The index of the declared attribute.
    pub declared: usize,
    /// What is said of it.
    pub predicate: Predicate,
    /// Byte offset and length.
    pub span: (usize, usize),
}

/// An expression as written, typed but not yet normal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// One predicate.
    Test(Test),
    /// `!`
    Not(Box<Tree>),
    /// `&&`
    All(Vec<Tree>),
    /// `||`
    Any(Vec<Tree>),
}

/// The methods, which no attribute name may end in.
pub(super) const METHODS: [&str; 7] =
    ["within", "matches_version", "startsWith", "endsWith", "containsAll", "subsetOf", "disjoint"];

/// What stands before an attribute that services promise where facts are spoken of too.
const PROMISED: &str = "service.";

const UNCLOSED: &str = "the bracket is not closed";

/// Parses an expression to its exact conjunctive normal form.
pub fn parse(vocabulary: &Vocabulary, scope: Scope, text: &str) -> Result<Cnf, Vec<Complaint>> {
    let tree = parse_tree(vocabulary, scope, text)?;
    normal::convert(vocabulary, scope, &tree)
}

/// Parses an expression to the exact conjunctive normal form of its **negation**; one that can
/// never hold, or holds always, is refused.
pub fn parse_negated(
    vocabulary: &Vocabulary,
    scope: Scope,
    text: &str,
) -> Result<Cnf, Vec<Complaint>> {
    let tree = parse_tree(vocabulary, scope, text)?;
    normal::negate(vocabulary, scope, &tree)
}

/// Parses an expression to its tree.
pub fn parse_tree(
    vocabulary: &Vocabulary,
    scope: Scope,
    text: &str,
) -> Result<Tree, Vec<Complaint>> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(vec![Complaint::new(
            (0, text.len()),
            format!("the expression has {} bytes, more than {EXPRESSION_BYTES_MAX}", text.len()),
            "split it into several conditions",
        )]);
    }
    let (tokens, complaints) = lex(text);
    let mut parser =
        Parser { vocabulary, scope, tokens, next: 0, depth: 0, end: text.len(), complaints };
    let tree = parser.or();
    while let Some(token) = parser.peek().cloned() {
        // What `or` left over starts no operator: name it once, then look for more behind it.
        let (what, mend) = leftover(&token.word);
        parser.complain(token.span, what, mend);
        parser.next += 1;
        parser.skip();
        parser.next += 1;
        if parser.peek().is_some() {
            parser.or();
        }
    }
    let mut complaints = parser.complaints;
    if complaints.is_empty() {
        return Ok(tree);
    }
    complaints.sort();
    complaints.dedup();
    complaints.truncate(COMPLAINTS_MAX);
    Err(complaints)
}

fn leftover(word: &Word) -> (String, String) {
    match word {
        Word::Sign(sign) if ARITHMETIC.contains(sign) => arithmetic(sign),
        Word::Sign(")" | "]") => {
            ("a closing bracket closes nothing".into(), "remove it, or open one before".into())
        }
        _ => ("two conditions stand side by side".into(), "join them with `&&` or `||`".into()),
    }
}

const ARITHMETIC: [&str; 6] = ["+", "-", "*", "/", "%", "?"];

fn arithmetic(sign: &str) -> Objection {
    (
        format!("`{sign}` computes, and conditions only compare an attribute to constants"),
        "write the result as a constant".into(),
    )
}

struct Parser<'a> {
    vocabulary: &'a Vocabulary,
    scope: Scope,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    end: usize,
    complaints: Vec<Complaint>,
}

/// Stands where something was complained of; it never leaves the parser.
fn broken() -> Tree {
    Tree::All(Vec::new())
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn sign(&self) -> Option<&'static str> {
        match self.peek() {
            Some(Token { word: Word::Sign(sign), .. }) => Some(sign),
            _ => None,
        }
    }

    /// Takes the sign if it is next.
    fn take(&mut self, sign: &str) -> bool {
        let found = self.sign() == Some(sign);
        self.next += usize::from(found);
        found
    }

    /// The place of the next token, or the end of the text.
    fn here(&self) -> (usize, usize) {
        self.peek().map_or((self.end, 0), |token| token.span)
    }

    /// From the start of one place to the end of the token taken last.
    fn since(&self, start: usize) -> (usize, usize) {
        let last = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        let end = last.map_or(start, |token| token.span.0 + token.span.1);
        (start, end.saturating_sub(start))
    }

    fn complain(&mut self, span: (usize, usize), what: impl Into<String>, mend: impl Into<String>) {
        self.complaints.push(Complaint::new(span, what, mend));
    }

    /// Complains of something that cannot be parsed on from, and skips to the next operator.
    fn give_up(&mut self, span: (usize, usize), (what, mend): Objection) -> Tree {
        self.complain(span, what, mend);
        self.skip();
        broken()
    }

    /// Skips to `&&`, `||` or a bracket that closes what is open, over balanced brackets.
    fn skip(&mut self) {
        let mut open = 0_usize;
        while let Some(token) = self.peek() {
            match token.word {
                Word::Sign("(" | "[") => open += 1,
                Word::Sign(")" | "]") if open > 0 => open -= 1,
                Word::Sign("&&" | "||" | ")" | "]") if open == 0 => return,
                _ => {}
            }
            self.next += 1;
        }
    }

    /// After a complaint inside brackets: goes on behind those that are still to close.
    fn leave(&mut self, closers: &[&str]) -> Tree {
        for closer in closers {
            self.skip();
            self.take(closer);
        }
        self.skip();
        broken()
    }

    fn or(&mut self) -> Tree {
        let mut children = vec![self.and()];
        while self.take("||") {
            children.push(self.and());
        }
        only(children, Tree::Any)
    }

    fn and(&mut self) -> Tree {
        let mut children = vec![self.unary()];
        while self.take("&&") {
            children.push(self.unary());
        }
        only(children, Tree::All)
    }

    fn unary(&mut self) -> Tree {
        if self.depth >= EXPRESSION_DEPTH_MAX {
            let span = self.here();
            return self.give_up(
                span,
                (
                    format!("the expression nests deeper than {EXPRESSION_DEPTH_MAX}"),
                    "write it flatter".into(),
                ),
            );
        }
        self.depth += 1;
        let tree = self.unary_below();
        self.depth -= 1;
        tree
    }

    fn unary_below(&mut self) -> Tree {
        if self.take("!") {
            return Tree::Not(Box::new(self.unary()));
        }
        let open = self.here();
        if !self.take("(") {
            return self.atom();
        }
        let tree = self.or();
        if self.take(")") {
            return tree;
        }
        match self.peek().cloned() {
            None => {
                // The innermost says enough: every bracket around it is open for the same reason.
                if self.complaints.iter().all(|complaint| complaint.what != UNCLOSED) {
                    self.complain(open, UNCLOSED, "add a `)`");
                }
            }
            Some(token) => {
                let (what, mend) = leftover(&token.word);
                self.complain(token.span, what, mend);
                self.next += 1;
                self.skip();
                self.take(")");
            }
        }
        tree
    }

    fn atom(&mut self) -> Tree {
        let start = self.here();
        let word = self.peek().map(|token| token.word.clone());
        match word {
            Some(Word::Name(name)) if name == "true" || name == "false" => {
                self.next += 1;
                self.give_up(
                    start,
                    (
                        format!("`{name}` alone is not a condition"),
                        "name an attribute, or remove the condition".into(),
                    ),
                )
            }
            Some(Word::Name(name)) => {
                self.next += 1;
                self.about(start, &name)
            }
            Some(Word::Number(_) | Word::Text(_)) => {
                self.next += 1;
                self.give_up(
                    start,
                    (
                        "a condition starts with an attribute, not with a constant".into(),
                        "write the attribute on the left, for example `request.bytes <= 1MiB`"
                            .into(),
                    ),
                )
            }
            Some(Word::Sign(sign)) if ARITHMETIC.contains(&sign) => {
                self.next += 1;
                self.give_up(start, arithmetic(sign))
            }
            _ => self
                .give_up(start, ("a condition is missing here".into(), "name an attribute".into())),
        }
    }

    /// An atom whose first name was taken.
    fn about(&mut self, start: (usize, usize), name: &str) -> Tree {
        if self.sign() == Some("(") {
            if let Some((attribute, method)) = name.rsplit_once('.')
                && METHODS.contains(&method)
            {
                return self.method(start, attribute, method);
            }
            return self.called(start, name);
        }
        if matches!(self.peek(), Some(Token { word: Word::Name(word), .. }) if word == "in") {
            self.next += 1;
            return self.membership(start, name);
        }
        let Some(relation) = self.sign().and_then(Relation::of) else {
            return self.alone(start, name);
        };
        self.next += 1;
        let Some(literal) = self.literal() else { return broken() };
        self.test(start, name, |declared| predicate::compare(declared, relation, &literal))
    }

    /// `attr` by itself: a bool.
    fn alone(&mut self, start: (usize, usize), name: &str) -> Tree {
        if let Some(sign) = self.sign()
            && ARITHMETIC.contains(&sign)
        {
            self.next += 1;
            return self.give_up(start, arithmetic(sign));
        }
        if let Some(version) = name.strip_suffix(".pre")
            && self.vocabulary.find(self.bare(version)).is_some_and(|d| d.kind == Kind::Version)
        {
            return self.test(start, version, |_| Ok(Predicate::Prerelease));
        }
        self.test(start, name, |declared| match &declared.kind {
            Kind::Bool => Ok(Predicate::Is(Relation::Equal, 1)),
            kind => Err((
                format!("{} is {}, not a condition by itself", quoted(name), kind.describe()),
                kind.sample(),
            )),
        })
    }

    fn membership(&mut self, start: (usize, usize), name: &str) -> Tree {
        let Some(literals) = self.list() else { return self.leave(&["]"]) };
        self.test(start, name, |declared| predicate::one_of(declared, &literals))
    }

    fn method(&mut self, start: (usize, usize), name: &str, method: &str) -> Tree {
        self.next += 1;
        let list = matches!(method, "containsAll" | "subsetOf" | "disjoint");
        let argument = self.here();
        let given = if self.sign() == Some("[") {
            self.list()
        } else {
            self.literal().map(|literal| vec![literal])
        };
        let Some(literals) = given else { return self.leave(&["]", ")"]) };
        let texts: Option<Vec<String>> = literals
            .into_iter()
            .map(|literal| match literal {
                Literal::Text(text) => Some(text),
                Literal::Number(_) | Literal::Bool(_) => None,
            })
            .collect();
        let is_list = self.tokens.get(self.next.saturating_sub(1)).map(|token| &token.word)
            == Some(&Word::Sign("]"));
        let Some(texts) = texts.filter(|_| is_list == list) else {
            let (what, mend) = if list {
                ("takes a list of strings", format!("write `.{method}([\"…\"])`"))
            } else {
                ("takes one string", format!("write `.{method}(\"…\")`"))
            };
            self.complain(argument, format!("`.{method}` {what}"), mend);
            return self.leave(&[")"]);
        };
        if !self.take(")") {
            let span = self.here();
            return self
                .give_up(span, (format!("`.{method}(` is not closed here"), "add a `)`".into()));
        }
        self.test(start, name, |declared| match texts.first() {
            Some(text) if !list => predicate::method_text(declared, method, text),
            _ => predicate::method_list(declared, method, &texts),
        })
    }

    /// `name(`: a tail's bound, or a function that does not exist.
    fn called(&mut self, start: (usize, usize), name: &str) -> Tree {
        let declared = self.vocabulary.find(self.bare(name));
        let tail = declared.is_some_and(|d| matches!(d.kind, Kind::Tail(_)));
        if !tail {
            let objection = self.no_such_call(name);
            return self.give_up(start, objection);
        }
        self.next += 1;
        let argument = self.here();
        let Some(literal) = self.literal() else { return self.leave(&[")"]) };
        let Literal::Number(bound) = literal else {
            self.complain(
                argument,
                format!("the bound of {} is a duration", quoted(name)),
                format!("write for example `{name}(100ms) <= 1%`"),
            );
            return self.leave(&[")"]);
        };
        let closed = self.take(")");
        let relation = self.sign().and_then(Relation::of).filter(|_| closed);
        let Some(relation) = relation else {
            let span = self.here();
            return self.give_up(
                span,
                (
                    format!("{} needs a bound and a ratio", quoted(name)),
                    format!("write for example `{name}(100ms) <= 1%`"),
                ),
            );
        };
        self.next += 1;
        let Some(ratio) = self.literal() else { return broken() };
        self.test(start, name, |declared| predicate::tail(declared, &bound, relation, &ratio))
    }

    fn no_such_call(&self, name: &str) -> Objection {
        let method = name.rsplit('.').next().unwrap_or(name);
        match method {
            "matches" => (
                "regular expressions are not part of the language".into(),
                "use `.startsWith`, `.endsWith` or `in [...]`; versions have `.matches_version`"
                    .into(),
            ),
            "all" | "exists" | "exists_one" | "map" | "filter" => (
                format!("`.{method}` is a comprehension, and there are none here"),
                "use `.containsAll`, `.subsetOf` or `.disjoint` with a list of symbols".into(),
            ),
            "contains" => (
                "a search inside a text is not part of the language".into(),
                "use `.startsWith`, `.endsWith`, or `.containsAll([...])` for sets".into(),
            ),
            "size" => (
                "`size` computes, and conditions only compare attributes to constants".into(),
                "declare an attribute for it".into(),
            ),
            _ => (
                format!("there is no function {}", quoted(method)),
                suggest(method, METHODS, || format!("there are `.{}`", METHODS.join("`, `."))),
            ),
        }
    }

    /// One constant. Complains and skips where there is none.
    fn literal(&mut self) -> Option<Literal> {
        let span = self.here();
        let word = self.peek().map(|token| token.word.clone());
        let literal = match word {
            Some(Word::Number(number)) => Literal::Number(number),
            Some(Word::Text(text)) => Literal::Text(text),
            Some(Word::Name(name)) if name == "true" || name == "false" => {
                Literal::Bool(name == "true")
            }
            Some(Word::Name(name)) => {
                self.next += 1;
                let objection = self.not_a_constant(&name);
                self.give_up(span, objection);
                return None;
            }
            _ => {
                self.give_up(
                    span,
                    (
                        "a constant is missing here".into(),
                        "write a number with its unit, a quoted text, `true` or `false`".into(),
                    ),
                );
                return None;
            }
        };
        self.next += 1;
        if let Some(sign) = self.sign().filter(|sign| ARITHMETIC.contains(sign)) {
            let span = self.here();
            self.next += 1;
            self.give_up(span, arithmetic(sign));
            return None;
        }
        Some(literal)
    }

    fn not_a_constant(&self, name: &str) -> Objection {
        if self.vocabulary.find(self.bare(name)).is_some() {
            (
                format!(
                    "{} is an attribute, and attributes compare only to constants",
                    quoted(name)
                ),
                "write the constant; a contract knows its own".into(),
            )
        } else {
            (format!("{} is not a constant", quoted(name)), "put text in quotes".into())
        }
    }

    /// `[literal, …]`, not empty.
    fn list(&mut self) -> Option<Vec<Literal>> {
        let span = self.here();
        if !self.take("[") {
            self.give_up(
                span,
                ("a list is missing here".into(), "write `[`, constants and `]`".into()),
            );
            return None;
        }
        if self.sign() == Some("]") {
            self.next += 1;
            let what = "an empty list leaves nothing to choose";
            self.give_up(span, (what.into(), "name at least one value".into()));
            return None;
        }
        let mut literals = vec![self.literal()?];
        while self.take(",") {
            literals.push(self.literal()?);
        }
        if self.take("]") {
            return Some(literals);
        }
        let span = self.here();
        self.give_up(span, ("the list is not closed here".into(), "add `,` or `]`".into()));
        None
    }

    /// A test of a known attribute of the right side.
    fn test(
        &mut self,
        start: (usize, usize),
        name: &str,
        predicate: impl FnOnce(&Declared) -> Result<Predicate, Objection>,
    ) -> Tree {
        let span = self.since(start.0);
        let found = self.resolve(name).and_then(|(index, declared)| {
            predicate(declared).map(|predicate| Test { declared: index, predicate, span })
        });
        match found {
            Ok(test) => Tree::Test(test),
            Err((what, mend)) => {
                self.complain(span, what, mend);
                broken()
            }
        }
    }

    /// The name in the vocabulary.
    fn bare<'n>(&self, name: &'n str) -> &'n str {
        let everything = self.scope == Scope::Everything;
        name.strip_prefix(PROMISED).filter(|_| everything).unwrap_or(name)
    }

    fn resolve(&self, name: &str) -> Result<(usize, &Declared), Objection> {
        let promised = match self.scope {
            Scope::Facts => false,
            Scope::Promises => true,
            Scope::Everything => name.starts_with(PROMISED),
        };
        let fits = |side: Side| (side == Side::Promise) == promised;
        let bare = self.bare(name);
        let declared = self.vocabulary.declared();
        let Some(index) = self.vocabulary.index(bare) else {
            let names =
                declared.iter().filter(|declared| fits(declared.side)).map(|d| d.name.as_str());
            return Err((
                format!("there is no attribute {}", quoted(bare)),
                suggest(bare, names, || "declare it in the vocabulary".into()),
            ));
        };
        match (declared.get(index), self.scope) {
            (Some(found), _) if fits(found.side) => Ok((index, found)),
            (_, Scope::Everything) if promised => Err((
                format!("{} is a fact of request or caller", quoted(bare)),
                format!("write {} without `{PROMISED}`", quoted(bare)),
            )),
            (_, Scope::Everything) => Err((
                format!("{} is promised by services", quoted(bare)),
                format!("write `{PROMISED}{}`", bare.escape_debug()),
            )),
            (_, Scope::Promises) => Err((
                format!("{} is a fact of request or caller", quoted(name)),
                "a requirement speaks of what services promise; put this into a demand".into(),
            )),
            (_, Scope::Facts) => Err((
                format!("{} is promised by services", quoted(name)),
                "a demand speaks of request and caller; put this into a requirement".into(),
            )),
        }
    }
}

/// A single child stands for itself.
fn only(mut children: Vec<Tree>, join: fn(Vec<Tree>) -> Tree) -> Tree {
    match children.pop() {
        Some(child) if children.is_empty() => child,
        Some(child) => {
            children.push(child);
            join(children)
        }
        None => broken(),
    }
}
