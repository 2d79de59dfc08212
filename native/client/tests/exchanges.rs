//! The client against servers on loopback. Faults of servers, proxies and TLS are tested through Python (`tests/ic/`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use icws_client::{Address, Client, Endpoint, Failure, Payload, Question, Reading, Request, Response, Unusable};

const LONG: Duration = Duration::from_secs(20);

/// Serves each connection so, in a thread of its own; `serve` gets the number of the connection, from 0.
fn server(serve: impl Fn(usize, BufReader<TcpStream>) + Send + Sync + 'static) -> Arc<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(number, BufReader::new(stream.unwrap())));
        }
    });
    Arc::new(Endpoint::new(url.clone(), Address::parse(&url).unwrap(), None))
}

/// Reads a request and returns its first line; None at the end of the connection.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            reader.read_exact(&mut vec![0; length]).ok()?;
            return first;
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.parse().unwrap();
        }
        first.get_or_insert(line);
    }
}

fn respond(reader: &mut BufReader<TcpStream>, body: &str) {
    write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn request(endpoint: &Arc<Endpoint>, body: Option<&'static [u8]>) -> Request {
    let endpoint = Arc::clone(endpoint);
    Request {
        endpoint,
        path: "/path".to_owned(),
        body: body.map_or(Payload::None, |body| Payload::Body(body.into())),
        limit: 100,
        timeout: LONG,
    }
}

fn outcome(client: &Client, request: Request) -> Result<Response, Failure> {
    let id = client.begin(request).unwrap();
    loop {
        if let Some(completion) = client.take().into_iter().find(|completion| completion.id == id) {
            return completion.result;
        }
        thread::yield_now();
    }
}

fn body_of(result: Result<Response, Failure>) -> Vec<u8> {
    result.unwrap().body
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let endpoint = server(|number, mut reader| {
        while let Some(line) = read_request(&mut reader) {
            respond(&mut reader, &format!("{number} {line}"));
        }
    });
    let client = Client::start(LONG).unwrap();
    assert_eq!(body_of(outcome(&client, request(&endpoint, None))), b"0 get /path http/1.1");
    for _ in 0..5 {
        assert_eq!(body_of(outcome(&client, request(&endpoint, Some(b"body")))), b"0 post /path http/1.1");
    }
}

/// The server reads the second request on a connection and closes it without an answer.
#[test]
fn a_request_that_a_kept_connection_does_not_answer_is_sent_again_on_a_new_one() {
    let endpoint = server(|number, mut reader| {
        read_request(&mut reader);
        respond(&mut reader, &number.to_string());
        read_request(&mut reader);
    });
    let client = Client::start(LONG).unwrap();
    for number in 0..4 {
        assert_eq!(body_of(outcome(&client, request(&endpoint, Some(b"body")))), number.to_string().as_bytes());
    }
}

#[test]
fn a_new_connection_that_does_not_answer_is_a_failure() {
    let endpoint = server(|_, mut reader| drop(read_request(&mut reader)));
    let client = Client::start(LONG).unwrap();
    assert!(matches!(outcome(&client, request(&endpoint, None)), Err(Failure::Broken(_))));
}

#[test]
fn a_limit_is_met_by_the_length_and_by_what_is_read() {
    let endpoint = server(|number, mut reader| {
        read_request(&mut reader);
        if number == 0 {
            respond(&mut reader, &"x".repeat(101));
        } else {
            let chunk = format!("32\r\n{}\r\n", "x".repeat(50));
            write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            while reader.get_mut().write_all(chunk.as_bytes()).is_ok() {}
        }
    });
    let client = Client::start(LONG).unwrap();
    let failure = outcome(&client, request(&endpoint, None)).unwrap_err();
    assert_eq!(failure, Failure::TooLarge { size: 101, limit: 100 });
    let failure = outcome(&client, request(&endpoint, None)).unwrap_err();
    assert!(matches!(failure, Failure::TooLarge { size: 101.., limit: 100 }), "{failure:?}");
}

/// A server that reads requests and answers none; it reports each, and the end of each connection.
fn silent() -> (Arc<Endpoint>, Receiver<&'static str>) {
    let (report, reports): (Sender<&'static str>, _) = channel();
    let endpoint = server(move |_, mut reader| {
        while read_request(&mut reader).is_some() {
            report.send("request").unwrap();
        }
        report.send("end").unwrap();
    });
    (endpoint, reports)
}

#[test]
fn a_cancelled_exchange_ends_its_connection() {
    let (endpoint, reports) = silent();
    let client = Client::start(LONG).unwrap();
    let id = client.begin(request(&endpoint, None)).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok("request"));
    client.cancel(id);
    assert_eq!(reports.recv_timeout(LONG), Ok("end"));
    client.cancel(id);
}

#[test]
fn closing_ends_every_exchange_and_takes_no_other() {
    let (endpoint, reports) = silent();
    let client = Client::start(LONG).unwrap();
    let ids = [(); 3].map(|()| client.begin(request(&endpoint, None)).unwrap());
    assert!(ids.iter().all(|_| reports.recv_timeout(LONG) == Ok("request")));
    assert!(client.close(LONG));
    assert!(ids.iter().all(|_| reports.recv_timeout(LONG) == Ok("end")));
    let mut ended: Vec<_> =
        client.take().into_iter().map(|completion| (completion.id, completion.result.err())).collect();
    ended.sort_by_key(|(id, _)| *id);
    assert_eq!(ended, ids.map(|id| (id, Some(Failure::Closed))));
    assert_eq!(client.begin(request(&endpoint, None)), Err(Unusable::Closed));
    assert!(client.close(LONG));
}

#[test]
fn time_outs_are_kept_and_named() {
    let (endpoint, _reports) = silent();
    let client = Client::start(LONG).unwrap();
    let short = Duration::from_millis(20);
    let failure = outcome(&client, Request { timeout: short, ..request(&endpoint, None) }).unwrap_err();
    assert_eq!(failure, Failure::Timeout(short));
    assert_eq!(failure.to_string(), "no answer within 0.02 s");
}

#[test]
fn connections_end_with_their_endpoint() {
    let (report, reports) = channel();
    let endpoint = server(move |_, mut reader| {
        while read_request(&mut reader).is_some() {
            respond(&mut reader, "ok");
        }
        report.send("end").unwrap();
    });
    let client = Client::start(LONG).unwrap();
    body_of(outcome(&client, request(&endpoint, None)));
    drop(endpoint);
    assert_eq!(reports.recv_timeout(LONG), Ok("end"));
}

/// Asks what an echo answers, and reads that so.
struct Asked(fn(&Response) -> Option<Reading>);

impl Question for Asked {
    fn body(&self) -> bytes::Bytes {
        "question".into()
    }

    fn read(&self, response: &Response) -> Option<Reading> {
        (self.0)(response)
    }
}

/// The body that came, and the answer if it was read.
fn asked(read: fn(&Response) -> Option<Reading>) -> (Vec<u8>, Option<usize>) {
    let endpoint = server(|_, mut reader| {
        while let Some(line) = read_request(&mut reader) {
            respond(&mut reader, &line);
        }
    });
    let client = Client::start(LONG).unwrap();
    for _ in 0..3 {
        // Whatever reading does, the connection and the client go on.
        outcome(&client, question(&endpoint, read)).unwrap();
    }
    let response = outcome(&client, question(&endpoint, read)).unwrap();
    (response.body, response.answer.map(|answer| *answer.downcast::<usize>().unwrap()))
}

fn question(endpoint: &Arc<Endpoint>, read: fn(&Response) -> Option<Reading>) -> Request {
    Request { body: Payload::Question(Arc::new(Asked(read))), ..request(endpoint, None) }
}

#[test]
fn a_response_is_read_on_the_way() {
    let (body, answer) = asked(|response| Some(Reading::Done(Box::new(response.body.len()))));
    assert_eq!((&*body, answer), (&b"post /path http/1.1"[..], Some(body.len())));
}

#[test]
fn what_takes_long_is_read_on_another_thread() {
    let (body, answer) = asked(|_| {
        let name = || thread::current().name().map(str::to_owned);
        let first = name();
        Some(Reading::Later(Box::new(move |response| {
            assert_ne!(first, name());
            Some(Box::new(response.body.len()))
        })))
    });
    assert_eq!(answer, Some(body.len()));
}

#[test]
fn what_is_not_read_comes_as_it_is() {
    for read in [
        (|_| None) as fn(&Response) -> Option<Reading>,
        |_| Some(Reading::Later(Box::new(|_| None))),
        |_| Some(Reading::Later(Box::new(|_| panic!("in a reader")))),
        |_| panic!("on the client's thread"),
    ] {
        assert_eq!(asked(read), (b"post /path http/1.1".to_vec(), None));
    }
}
