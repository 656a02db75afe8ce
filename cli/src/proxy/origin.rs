//! Keeps web pages out: a browser on this machine reaches the proxy too, and a page could have it query in the
//! operator's name.
//!
//! A page whose name was made to resolve to loopback (DNS rebinding) is known by `Host`, another one by `Origin`, or by
//! `Sec-Fetch-Site` where it embeds an answer as if it were a picture.

use std::net::IpAddr;

use hyper::{Request, header, http::uri::Authority};

use super::answer::Refusal;

/// Checks that a request comes from a program of this machine, not from a web page of another host.
///
/// # Errors
/// It may not.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    // The target of the request counts more than the header, where it names a host.
    let target = request.uri().authority().map(Authority::as_str);
    if hosts.next().is_some() || !is_loopback(host) || target.is_some_and(|target| !is_loopback(target)) {
        return Err(Refusal::forbidden(
            "the header Host must name this machine: localhost or a loopback address",
        ));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if !authority.is_some_and(|(_, authority)| is_loopback(authority)) {
            return Err(Refusal::forbidden("a web page of another host may not use this server"));
        }
    }
    let site = headers.get_all("sec-fetch-site").iter();
    if site.map(|site| site.as_bytes()).any(|site| site == b"cross-site" || site == b"same-site") {
        return Err(Refusal::forbidden("a web page of another host may not use this proxy"));
    }
    Ok(())
}

/// Whether `HOST` or `HOST:PORT` names this machine.
fn is_loopback(authority: &str) -> bool {
    if authority.contains('@') {
        return false;
    }
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case("localhost.") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)], target: &str) -> Request<()> {
        let start = Request::get(target);
        headers.iter().fold(start, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    #[test]
    fn programs_of_this_machine_pass() {
        for host in
            ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.9.9.9", "[::1]:9090", "localhost.:1"]
        {
            assert_eq!(check(&request(&[("Host", host)], "/api/v1/query")), Ok(()), "{host}");
        }
        let page = [("Host", "127.0.0.1:1"), ("Origin", "http://localhost:3000")];
        assert_eq!(check(&request(&page, "/")), Ok(()));
        assert_eq!(check(&request(&[("Host", "localhost")], "http://localhost:9090/")), Ok(()));
    }

    #[test]
    fn web_pages_do_not_pass() {
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "a@localhost",
            "0.0.0.0:9090",
        ] {
            let refused = check(&request(&[("Host", host)], "/")).unwrap_err();
            assert_eq!(refused.status(), 403, "{host}");
        }
        assert!(check(&request(&[], "/")).is_err());
        for site in ["cross-site", "same-site"] {
            assert!(check(&request(&[("Host", "localhost"), ("Sec-Fetch-Site", site)], "/")).is_err());
        }
        assert!(check(&request(&[("Host", "localhost"), ("Host", "evil.example")], "/")).is_err());
        assert!(check(&request(&[("Host", "localhost")], "http://evil.example/")).is_err());
        for origin in
            ["http://evil.example", "null", "", "https://localhost.evil.example", "http://a@localhost"]
        {
            let page = [("Host", "localhost"), ("Origin", origin)];
            assert!(check(&request(&page, "/")).is_err(), "{origin}");
        }
    }
}
