//! What the demo prints: lines that work as printed.

use super::origin::Service;
use crate::cli::style::Output;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Prints who is there and what to try.
pub(super) fn print(
    out: &mut Output<'_>,
    gateway: SocketAddr,
    services: &[Service],
    config: &Path,
) -> io::Result<()> {
    let paint = out.paint;
    writeln!(out.writer, "caio: listening on {gateway}, in front of:")?;
    for service in services {
        let name = paint.bold(service.name);
        writeln!(out.writer, "  {name:<18} {}  {}", service.address, service.about)?;
    }
    writeln!(out.writer, "their contracts are beside {}\n", config.display())?;
    for (says, line) in lines(gateway, config) {
        writeln!(out.writer, "{}\n{line}\n", paint.dim(&format!("# {says}")))?;
    }
    writeln!(out.writer, "Ctrl-C ends the demo.")?;
    out.writer.flush()
}

/// What each line shows, and the line.
fn lines(gateway: SocketAddr, config: &Path) -> Vec<(&'static str, String)> {
    let url = format!("http://{gateway}");
    let own = std::env::current_exe().ok();
    let caio = own.as_deref().unwrap_or(Path::new("caio")).display();
    let config = config.display();
    let eu = r#"-H 'CAIO-Require: "residency.within(\"eu\")"'"#;
    let both = r#"-H 'CAIO-Require: "residency.within(\"us\")", "retention == 0d"'"#;
    vec![
        (
            "routed by contract: for public data the American service is allowed, and preferred",
            format!("curl -sd hello -H 'X-Data-Class: public' {url}/v1/embed"),
        ),
        (
            "a narrower requirement reroutes: only the European one promises this",
            format!("curl -sd hello -H 'X-Data-Class: public' {eu} {url}/v1/embed"),
        ),
        (
            "no class stated: unknown satisfies no demand, so the one for small requests answers",
            format!("curl -sd hello {url}/v1/embed"),
        ),
        (
            "too large for the small one",
            format!("head -c 5000 /dev/zero | curl -s --data-binary @- {url}/v1/embed"),
        ),
        (
            "nobody promises both: refused, with the stage and the closest candidate",
            format!("curl -sd hello -H 'X-Data-Class: public' {both} {url}/v1/embed"),
        ),
        (
            "a gRPC call: five bytes of framing, five of message; the status is in the trailers",
            format!(
                "printf '\\0\\0\\0\\0\\5hello' | curl -sv --http2-prior-knowledge \
                 -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- \
                 {url}/nme.v2.Embed/Embed -o /dev/null"
            ),
        ),
        (
            "explained: every candidate, its first failing clause, its key, and the winner",
            format!(
                "{caio} explain -c {config} -d hello -H 'X-Data-Class: public' {eu} {url}/v1/embed"
            ),
        ),
    ]
}
