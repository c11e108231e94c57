//! One question of a gRPC check, `grpc.health.v1.Health/Check`: a frame of five bytes and a message of one
//! field each way, which is little enough to write by hand.

use std::time::Duration;

use http_body_util::BodyExt;
use reqwest::header::HeaderMap;

use super::clients::{Clients, late, reason};
use crate::store::command::CheckStatus::{self, Critical, Passing};

/// One byte of flags, four of length.
const FRAME_HEADER: usize = 5;
/// An answer is of a few bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// `ServingStatus.SERVING`
const SERVING: u64 = 1;

pub(in crate::checks) async fn run(
    clients: &Clients,
    target: &str,
    tls: bool,
    skip_verify: bool,
    limit: Duration,
) -> (CheckStatus, String) {
    let (server, service) = target.split_once('/').unwrap_or((target, ""));
    let asked = tokio::time::timeout(limit, ask(clients, server, service, tls, skip_verify)).await;
    match asked.unwrap_or_else(|_| Err(failure("DeadlineExceeded", &late(limit)))) {
        Ok(SERVING) => (Passing, format!("gRPC check {target}: success")),
        Ok(_) => (Critical, format!("gRPC {target} serving status is not SERVING")),
        Err(problem) => (Critical, problem),
    }
}

/// As Go's gRPC prints an error.
fn failure(code: &str, text: &str) -> String {
    format!("rpc error: code = {code} desc = {text}")
}

/// The serving status that was answered.
async fn ask(clients: &Clients, server: &str, service: &str, tls: bool, skip_verify: bool) -> Result<u64, String> {
    let scheme = if tls { "https" } else { "http" };
    let request = clients
        .grpc(skip_verify)?
        .post(format!("{scheme}://{server}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(question(service));
    let response = request.send().await.map_err(|problem| {
        let why = reason(&problem, server);
        failure("Unavailable", &format!("connection error: desc = {:?}", format!("transport: {why}")))
    })?;
    if !response.status().is_success() {
        return Err(failure("Unknown", &format!("HTTP status {}", response.status().as_u16())));
    }
    // An answer without a body carries its end in the headers.
    said(response.headers())?;
    let mut body = reqwest::Body::from(response);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|problem| failure("Unavailable", &reason(&problem, server)))?;
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) if bytes.len() + data.len() <= ANSWER_BYTES_MAX => bytes.extend_from_slice(data),
            (Some(_), _) => return Err(failure("ResourceExhausted", "the answer is too long")),
            (_, Some(trailers)) => said(trailers)?,
            _ => {}
        }
    }
    answered(&bytes).ok_or_else(|| failure("Internal", "the answer is no HealthCheckResponse"))
}

/// What the status of the call is, where it is told here.
fn said(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = match text("grpc-status") {
        None | Some("0") => return Ok(()),
        Some("4") => "DeadlineExceeded",
        Some("5") => "NotFound",
        Some("12") => "Unimplemented",
        Some("14") => "Unavailable",
        Some("16") => "Unauthenticated",
        Some(_) => "Unknown",
    };
    Err(failure(code, text("grpc-message").unwrap_or_default()))
}

/// `HealthCheckRequest { service }` in its frame.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of a length.
        message.push(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Field 1 of a `HealthCheckResponse`; 0 where it is left out. None for what is none.
fn answered(frame: &[u8]) -> Option<u64> {
    let (header, mut message) = frame.split_at_checked(FRAME_HEADER)?;
    let length = u32::from_be_bytes(header[1..].try_into().ok()?);
    if header[0] != 0 || message.len() != length as usize {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.split_at_checked(length)?.1;
            }
            _ => return None,
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_its_service() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(200))[..8], [0, 0, 0, 0, 203, 0x0a, 200, 1]);
    }

    #[test]
    fn an_answer_is_read_and_nothing_else() {
        let check = |frame: &[u8], expected: Option<u64>| assert_eq!(answered(frame), expected, "{frame:?}");
        check(&[0, 0, 0, 0, 2, 8, 1], Some(1));
        check(&[0, 0, 0, 0, 2, 8, 2], Some(2));
        check(&[0, 0, 0, 0, 0], Some(0));
        check(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1], Some(1));
        check(&[1, 0, 0, 0, 2, 8, 1], None);
        check(&[0, 0, 0, 0, 3, 8, 1], None);
        check(&[0, 0, 0, 0, 1, 8], None);
        check(&[0, 0], None);
        check(&[0, 0, 0, 0, 4, 0x12, 200, 8, 1], None);
    }
}
