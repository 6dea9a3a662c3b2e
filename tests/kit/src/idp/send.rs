//! Puts a reply on the wire, as badly as it asks for.

use std::{fmt::Write as _, io, time::Duration};

use tokio::io::{AsyncWriteExt as _, BufWriter};

use super::{Reply, reply::Act};
use crate::server::Stream;

impl Reply {
    /// Sends it; gives the stream back if the connection can take another request.
    pub(crate) async fn send(self, mut stream: Stream) -> io::Result<Option<Stream>> {
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        match self.act {
            Act::Token(_) => panic!("a token reply is resolved by the IdP alone"),
            Act::Respond { status, body } => {
                let mut answer = head(status, &self.headers, Some(body.len())).into_bytes();
                answer.extend_from_slice(&body);
                stream.write_all(&answer).await?;
                stream.flush().await?;
                Ok(Some(stream))
            }
            Act::Truncate { status, body, missing } => {
                stream.write_all(head(status, &self.headers, Some(body.len() + missing)).as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.shutdown().await?;
                Ok(None)
            }
            Act::Drip { status, body, every } => {
                stream.write_all(head(status, &self.headers, Some(body.len())).as_bytes()).await?;
                drip(&mut stream, &body, every).await?;
                Ok(Some(stream))
            }
            Act::UntilClose { status, body, orderly } => {
                stream.write_all(head(status, &self.headers, None).as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.flush().await?;
                if orderly {
                    stream.shutdown().await?;
                }
                Ok(None)
            }
            Act::Endless { status, body } => {
                let mut stream = BufWriter::new(stream);
                stream.write_all(head(status, &self.headers, None).as_bytes()).await?;
                stream.write_all(&body).await?;
                // Ends when the client hangs up, or with the runtime.
                loop {
                    stream.write_all(&[b' '; 8192]).await?;
                }
            }
            Act::Close => {
                stream.shutdown().await?;
                Ok(None)
            }
            Act::Reset => {
                stream.reset();
                Ok(None)
            }
        }
    }
}

async fn drip(stream: &mut Stream, body: &[u8], every: Duration) -> io::Result<()> {
    for byte in body {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(every).await;
    }
    Ok(())
}

/// Without a length the body ends with the connection.
fn head(status: u16, headers: &[(String, String)], length: Option<usize>) -> String {
    let reason = if status < 400 { "OK" } else { "Error" };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    match length {
        Some(length) => {
            let _ = write!(head, "Content-Length: {length}\r\n\r\n");
        }
        None => head.push_str("Connection: close\r\n\r\n"),
    }
    head
}
