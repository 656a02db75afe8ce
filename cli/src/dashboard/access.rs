//! Who may use the dashboard: who has its token, or the cookie that the token was exchanged for.
//!
//! Loopback is shared by all users and all web pages of a machine, so an address is no proof. The token is in the first URL
//! only; the cookie is kept from scripts and from other sites, and its name holds the port, because browsers share cookies
//! between ports.

use hyper::{Request, header};

use crate::proxy::{Refusal, origin};

/// The token of a dashboard.
pub(super) struct Access {
    token: String,
    cookie: String,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may be answered.
    Granted,
    /// It has the token in its URL: set the cookie and forget the URL.
    Exchange,
}

impl Access {
    /// A token of 256 random bits, for a server on a port.
    pub(super) fn random(port: u16) -> Self {
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        Self { token, cookie: format!("catchment_dashboard_{port}") }
    }

    /// The token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The header that sets the cookie.
    pub(super) fn set_cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie, self.token)
    }

    /// Checks where a request comes from and what it presents.
    ///
    /// # Errors
    /// It may not use the dashboard: why, and what to do.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<Entry, Refusal> {
        origin::check(request)?;
        let page = request.uri().path() == "/";
        if !page && !is_same_origin(request) {
            return Err(Refusal::forbidden("only the dashboard's own page may send this request"));
        }
        if page && self.is_token_in(request.uri().query().unwrap_or_default()) {
            return Ok(Entry::Exchange);
        }
        if self.has_cookie(request) || self.has_bearer(request) {
            return Ok(Entry::Granted);
        }
        Err(Refusal::forbidden(
            "this dashboard needs its token: open the link that `catchment dashboard` printed (after following it from \
             another page, load this one again), or send the header Authorization: Bearer TOKEN",
        ))
    }

    fn is_token_in(&self, query: &str) -> bool {
        form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "token" && self.is(&value))
    }

    fn has_cookie<B>(&self, request: &Request<B>) -> bool {
        let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|list| list.to_str().ok());
        let mut pairs =
            cookies.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.cookie && self.is(value))
    }

    fn has_bearer<B>(&self, request: &Request<B>) -> bool {
        let text = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        text.and_then(|text| text.strip_prefix("Bearer ")).is_some_and(|token| self.is(token.trim()))
    }

    /// Compares in a time that does not tell how much is right.
    fn is(&self, given: &str) -> bool {
        let pairs = self.token.bytes().zip(given.bytes());
        given.len() == self.token.len() && pairs.fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// Whether a browser says that its own page, or no page at all, is behind the request. A page on another port of loopback
/// would have the cookie too.
fn is_same_origin<B>(request: &Request<B>) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text("host").unwrap_or_default();
    let own = text("origin").is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    own && text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(access: &Access, target: &str, headers: &[(&str, &str)]) -> Result<Entry, u16> {
        let start = Request::get(target).header("Host", "127.0.0.1:8080");
        let request = headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
        access.check(&request.body(()).unwrap()).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn the_token_becomes_a_cookie() {
        let access = Access::random(8080);
        let token = access.token().to_owned();
        assert_eq!((token.len(), token == Access::random(8080).token()), (64, false));
        let cookie = access.set_cookie();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(check(&access, &format!("/?token={token}"), &[]), Ok(Entry::Exchange));
        for path in ["/", "/data/fleet", "/api/v1/labels"] {
            assert_eq!(check(&access, path, &[("Cookie", &format!("a=b; {pair}"))]), Ok(Entry::Granted));
            assert_eq!(
                check(&access, path, &[("Authorization", &format!("Bearer {token}"))]),
                Ok(Entry::Granted)
            );
            for header in ["Cookie", "Authorization"] {
                assert_eq!(check(&access, path, &[(header, "catchment_dashboard_8080=; Bearer ")]), Err(403));
            }
            assert_eq!(check(&access, path, &[]), Err(403), "{path}");
        }
        // Of another dashboard on this machine.
        let other = format!("catchment_dashboard_9090={token}");
        assert_eq!(check(&access, "/", &[("Cookie", &other)]), Err(403));
        let wrong = format!("/?token={}", "0".repeat(64));
        for target in [wrong.as_str(), "/?token=", "/?token", &format!("/?token={}", &token[1..])] {
            assert_eq!(check(&access, target, &[]), Err(403), "{target}");
        }
        // Only the first page takes it, so that it is in no other URL.
        assert_eq!(check(&access, &format!("/data/fleet?token={token}"), &[]), Err(403));
    }

    #[test]
    fn other_pages_are_kept_out_though_the_browser_sends_the_cookie() {
        let access = Access::random(8080);
        let cookie = format!("catchment_dashboard_8080={}", access.token());
        let with = |name, value| check(&access, "/data/fleet", &[("Cookie", &cookie), (name, value)]);
        assert_eq!(with("Origin", "http://127.0.0.1:8080"), Ok(Entry::Granted));
        assert_eq!(with("Sec-Fetch-Site", "same-origin"), Ok(Entry::Granted));
        for (name, value) in [
            ("Origin", "http://127.0.0.1:3000"),
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "same-site"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Host", "evil.example"),
        ] {
            assert_eq!(with(name, value), Err(403), "{name}: {value}");
        }
    }
}
