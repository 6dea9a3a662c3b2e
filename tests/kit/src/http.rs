//! HTTP/1.1 requests as they are read off a stream, kept whole so that a test can assert every byte.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A request larger than this is not one of usher's.
const MAX_REQUEST: usize = 1 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// `POST`, `GET`.
    pub method: String,
    /// The request target as sent: path and query.
    pub path: String,
    /// Names and values, in their order, as spelled by the client.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The value of the first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The query's value of that name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        pairs(query).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// The body as `application/x-www-form-urlencoded` pairs.
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&self.text())
    }
}

/// Reads one request; `None` at the end of the connection.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Recorded>> {
    loop {
        if let Some((mut request, head_len)) = parse_head(buffer)? {
            if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
            {
                buffer.drain(..head_len);
                request.body = read_chunks(stream, buffer).await?;
                return Ok(Some(request));
            }
            let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(invalid)?;
            while buffer.len() < head_len + length {
                if fill(stream, buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            request.body = buffer[head_len..head_len + length].to_vec();
            buffer.drain(..head_len + length);
            return Ok(Some(request));
        }
        if fill(stream, buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// A body whose length is told piece by piece. Trailers are read over.
async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = read_line(stream, buffer).await?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(invalid)?;
        if size == 0 {
            while !read_line(stream, buffer).await?.is_empty() {}
            return Ok(body);
        }
        while buffer.len() < size + 2 {
            if fill(stream, buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        body.extend_from_slice(&buffer[..size]);
        buffer.drain(..size + 2);
    }
}

/// One line, without its end.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") {
            let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 2);
            return Ok(line);
        }
        if fill(stream, buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() > MAX_REQUEST {
        return Err(invalid("the request is too large"));
    }
    stream.read_buf(buffer).await
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(Recorded, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(buffer).map_err(invalid)? else {
        return Ok(None);
    };
    let headers = request
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let recorded = Recorded {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    Ok(Some((recorded, length)))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// `a=b&c=d`, decoded as HTML forms are.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Undoes percent-encoding, and `+` for a space.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together_and_the_next_request_follows() {
        let bytes = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let (mut stream, mut buffer) = (&bytes[..], Vec::new());
        let first = read_request(&mut stream, &mut buffer).await.unwrap().unwrap();
        assert_eq!((first.path.as_str(), first.text().as_str()), ("/a", "hello world"));
        let second = read_request(&mut stream, &mut buffer).await.unwrap().unwrap();
        assert_eq!((second.path.as_str(), second.body.len()), ("/b", 0));
        assert!(read_request(&mut stream, &mut buffer).await.unwrap().is_none());
    }
}
