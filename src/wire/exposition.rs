//! Metrics as text: Prometheus's format 0.0.4, and OpenMetrics 1.0 where a scraper prefers that.
//!
//! A family is opened once and its samples follow; families and samples come out in the order they
//! are given. Values are whole numbers, or thousandths written as a decimal fraction.

/// Which of the two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Labels that describe the process, with the value 1; its name ends in `_info`.
    Info,
}

/// A label: its name and its value.
pub type Label<'a> = (&'a str, &'a str);

/// A page of metrics while it is written.
#[derive(Debug)]
pub struct Page {
    format: Format,
    family: String,
    text: String,
}

impl Format {
    /// What a scraper wants, by its `Accept` field: OpenMetrics only where it is named, and not
    /// less welcome than plain text.
    pub fn accepted(accept: Option<&str>) -> Self {
        let (mut open, mut plain) = (0, 0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| {
                let (key, value) = part.split_once('=')?;
                key.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
            });
            let weight = weight.unwrap_or(1000);
            match media.as_str() {
                "application/openmetrics-text" => open = weight.max(open),
                "text/plain" | "text/*" | "*/*" => plain = weight.max(plain),
                _ => {}
            }
        }
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of the text.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight of RFC 9110 12.4.2 in thousandths; what is none counts as not wanted.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !digits {
        return 0;
    }
    let padded = format!("{fraction:0<3}");
    let fraction = padded.parse().unwrap_or(0);
    let whole = if whole == "1" { 1000 } else { 0 };
    (whole + fraction).min(1000)
}

impl Page {
    /// An empty page.
    pub fn new(format: Format) -> Self {
        Self { format, family: String::new(), text: String::new() }
    }

    /// Opens a family: samples that follow are its own. A name is opened once on a page.
    pub fn family(&mut self, kind: Kind, name: &str, help: &str) {
        self.family.clear();
        self.family.push_str(name);
        // OpenMetrics names a family without the suffix that its samples have.
        let (shown, word) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => {
                (name.strip_suffix("_total").unwrap_or(name), "counter")
            }
            (Format::OpenMetrics, Kind::Info) => {
                (name.strip_suffix("_info").unwrap_or(name), "info")
            }
            (Format::Prometheus, Kind::Counter) => (name, "counter"),
            (Format::Prometheus, Kind::Info) | (_, Kind::Gauge) => (name, "gauge"),
        };
        self.text.push_str("# HELP ");
        self.text.push_str(shown);
        self.text.push(' ');
        push_escaped(&mut self.text, help.trim(), self.format == Format::OpenMetrics);
        self.text.push_str("\n# TYPE ");
        self.text.push_str(shown);
        self.text.push(' ');
        self.text.push_str(word);
        self.text.push('\n');
    }

    /// A sample of the family that is open.
    pub fn sample(&mut self, labels: &[Label<'_>], value: u64) {
        self.line(labels, &value.to_string());
    }

    /// A sample in seconds, given in milliseconds.
    pub fn sample_ms(&mut self, labels: &[Label<'_>], ms: u64) {
        self.line(labels, &format!("{}.{:03}", ms / 1000, ms % 1000));
    }

    /// A gauge with one sample and no labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(Kind::Gauge, name, help);
        self.sample(&[], value);
    }

    fn line(&mut self, labels: &[Label<'_>], value: &str) {
        self.text.push_str(&self.family);
        let mut before = '{';
        for (name, label) in labels {
            self.text.push(before);
            before = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, label, true);
            self.text.push('"');
        }
        if before == ',' {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Label values escape the quote; help texts only in OpenMetrics.
fn push_escaped(out: &mut String, text: &str, quote: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quote => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_written_only_for_whoever_prefers_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let cases = [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some(""), Format::Prometheus),
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text ; Q=0.9, text/plain;q=0.8"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0.5, text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
            (Some("application/openmetrics-text;q=nonsense"), Format::Prometheus),
            (Some("application/openmetrics-text;q=2"), Format::Prometheus),
            (Some("application/json"), Format::Prometheus),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn both_texts_are_as_their_formats_say() {
        let write = |format| {
            let mut page = Page::new(format);
            page.family(Kind::Counter, "caio_a_total", " What is \"a\"\\?\nMore. ");
            page.sample(&[], 3);
            page.sample(&[("k", "a\"b\\c\nd"), ("l", "é")], u64::MAX);
            page.family(Kind::Info, "caio_build_info", "Which.");
            page.sample(&[("version", "1")], 1);
            page.family(Kind::Gauge, "caio_b_seconds", "B.");
            page.sample_ms(&[], 1_002);
            page.finish()
        };
        let samples = "caio_a_total 3\n\
                       caio_a_total{k=\"a\\\"b\\\\c\\nd\",l=\"é\"} 18446744073709551615\n";
        assert_eq!(
            write(Format::Prometheus),
            format!(
                "# HELP caio_a_total What is \"a\"\\\\?\\nMore.\n# TYPE caio_a_total counter\n\
                 {samples}# HELP caio_build_info Which.\n# TYPE caio_build_info gauge\n\
                 caio_build_info{{version=\"1\"}} 1\n# HELP caio_b_seconds B.\n\
                 # TYPE caio_b_seconds gauge\ncaio_b_seconds 1.002\n"
            )
        );
        assert_eq!(
            write(Format::OpenMetrics),
            format!(
                "# HELP caio_a What is \\\"a\\\"\\\\?\\nMore.\n# TYPE caio_a counter\n\
                 {samples}# HELP caio_build Which.\n# TYPE caio_build info\n\
                 caio_build_info{{version=\"1\"}} 1\n# HELP caio_b_seconds B.\n\
                 # TYPE caio_b_seconds gauge\ncaio_b_seconds 1.002\n# EOF\n"
            )
        );
    }
}
