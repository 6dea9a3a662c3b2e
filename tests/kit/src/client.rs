//! A blocking HTTP/1.1 client small enough to see every byte: one connection, one request, all that
//! comes back until the connection ends or the answer is whole.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::Value;

use crate::ca::Ca;

/// How long one read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// 200.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body as far as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; panics where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// Fetches `url`; certificates have to be of `ca`.
pub fn get(ca: &Ca, url: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    send(ca, "GET", url, headers, b"")
}

/// Posts `body` to `url`.
pub fn post(ca: &Ca, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
    send(ca, "POST", url, headers, body)
}

/// The token request exactly as the guide shows it.
pub fn guide_request(ca: &Ca, url: &str, params: &Value) -> io::Result<Response> {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    post(ca, url, &headers, params.to_string().as_bytes())
}

fn send(ca: &Ca, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
    let (scheme, rest) = url.split_once("://").expect("an absolute URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = connect(ca, scheme == "https", authority)?;
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    receive(&mut stream)
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

fn connect(ca: &Ca, tls: bool, authority: &str) -> io::Result<Box<dyn Duplex>> {
    let tcp = TcpStream::connect(authority)?;
    tcp.set_read_timeout(Some(READ_TIMEOUT))?;
    if !tls {
        return Ok(Box::new(tcp));
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::clone(&ca.client_config()), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(tls, tcp)))
}

fn receive(stream: &mut dyn Duplex) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..read]);
        let whole = parse(&bytes)?;
        match whole {
            Some((response, Some(length))) if response.body.len() >= length => return Ok(response),
            Some((response, None)) if read == 0 => return Ok(response),
            _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            // An endless body is cut off here.
            Some((response, _)) if response.body.len() > 1 << 20 => return Ok(response),
            _ => {}
        }
    }
}

/// The answer as far as it came, and how long its body is to be.
fn parse(bytes: &[u8]) -> io::Result<Option<(Response, Option<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let headers = head
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let response = Response { status: head.code.unwrap_or(0), headers, body: bytes[start..].to_vec() };
    let length = response.header("content-length").and_then(|length| length.parse().ok());
    Ok(Some((response, length)))
}
