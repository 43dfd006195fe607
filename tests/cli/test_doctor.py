"""`oarlock doctor` against set-ups that are broken in one way each: it names the step and the cause."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from doctor_gateway import Answer, Gateway, serving

from oarlock import BaseLLM, ChatLLM, HttpLLM
from oarlock.auth import ApiKey, BearerToken, ClientCredentials, Headers
from oarlock.cli.doctor.case import LONGEST_ANSWER, Patient, case_of
from oarlock.cli.doctor.examine import MOST_REQUESTS, STEPS, examine
from oarlock.cli.doctor.figures import latency
from oarlock.cli.doctor.network import connection, plain_http
from oarlock.cli.doctor.report import Examination
from oarlock.policies import Retry
from oarlock.testing import JwtIssuer, faults

KEY = "canary-9f8e7d6c5b4a"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def look(url: str, *, auth: Any = None, model: str = "gpt-x", timeout: float = 5.0, **settings: Any) -> Examination:
    """Examine a ChatLLM at this URL."""
    return examine(Patient(llm=ChatLLM(model, url, auth=auth, **settings)), timeout=timeout)


def only_failure(examination: Examination, step: str) -> str:
    """Return what the one failed step says."""
    shown = {one.name: one.saw for one in examination.failures}
    assert list(shown) == [step], shown
    assert not examination.ok
    return f"{examination[step].saw} {examination[step].advice}"


def outcomes(examination: Examination) -> dict[str, str]:
    return {step.name: step.outcome for step in examination.steps}


@contextlib.contextmanager
def hanging_port() -> Iterator[str]:
    """A port whose queue of connections is full, so that a further one gets no answer at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        time.sleep(0.05)  # the kernel fills the queue
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            for one in waiting:
                one.close()


class TestAGoodEndpoint:
    def test_everything_is_found_in_order(self) -> None:
        limits = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
        with serving(Gateway(token=KEY, limits=limits)) as gateway:
            found = look(gateway.url, auth=ApiKey(KEY))
        assert tuple(step.name for step in found.steps) == STEPS
        assert {name for name, outcome in outcomes(found).items() if outcome != "ok"} == {"tls"}  # plain HTTP
        assert found.ok
        assert found["rate_limits"].saw == "60 requests a minute, 59 requests left."
        assert found["usage"].facts == {"prompt_tokens": 12, "completion_tokens": 3}
        assert found["context_window"].facts == {"assumed": 8192, "told": 8192}
        assert found["streaming"].facts["done"] is True
        assert found.requests == len(gateway.requests) <= MOST_REQUESTS

    def test_the_questions_are_small(self) -> None:
        with serving(Gateway()) as gateway:
            look(gateway.url)
        bodies = [body for _, _, _, body in gateway.requests if body]
        assert all(body["max_tokens"] <= LONGEST_ANSWER for body in bodies)
        assert all(len(json.dumps(body)) < 700 for body in bodies)

    def test_an_llms_own_policies_retry_nothing_and_are_left_alone(self) -> None:
        with serving(Gateway(hook=lambda method, *_: Answer(503, {}) if method == "POST" else None)) as gateway:
            llm = ChatLLM("gpt-x", gateway.url).with_policies(Retry(attempts=5))
            examine(Patient(llm=llm), timeout=5)
            assert [method for method, *_ in gateway.requests] == ["GET", "POST"]
            assert llm.inner.policies  # type: ignore[attr-defined]
            assert llm.inner.timeout == 60.0  # type: ignore[attr-defined]

    def test_without_a_sign_in(self) -> None:
        with serving(Gateway()) as gateway:
            found = look(gateway.url)
        assert found["sign_in"].saw == "No sign-in was given."
        assert found["access"].saw == "No sign-in is asked for."
        assert found.ok

    @pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
    def test_over_either_transport(self, transport: str) -> None:
        with serving(Gateway(token=KEY)) as gateway:
            assert look(gateway.url, auth=ApiKey(KEY), transport=transport).ok
            only_failure(look(gateway.url, auth=ApiKey("wrong-key"), transport=transport), "access")


class TestTheWayThere:
    def test_an_unknown_host(self) -> None:
        found = look("https://llm.example.invalid/v1")
        assert "The name llm.example.invalid cannot be resolved: name or service not known" in only_failure(
            found, "dns"
        )
        assert outcomes(found)["chat"] == "skipped"
        assert found["chat"].saw == "Not tried, since dns failed."
        assert found.requests == 0

    def test_a_host_name_that_cannot_be(self) -> None:
        assert "cannot be resolved" in only_failure(look(f"http://{'a' * 70}.localhost/v1"), "dns")

    def test_a_refused_port(self) -> None:
        with faults.serve("refused") as server:
            said = only_failure(look(server.url), "connection")
        assert "refused, nothing listens there" in said

    def test_a_port_that_hangs(self) -> None:
        with hanging_port() as url:
            said = only_failure(look(url, timeout=0.3), "connection")
        assert "no answer within 0.3 s" in said
        assert "firewall" in said

    def test_one_of_two_addresses_refuses(self) -> None:
        with serving(Gateway()) as gateway, faults.serve("refused") as server:
            case = case_of(Patient(llm=ChatLLM("gpt-x", gateway.url)))
            ports = [int(url.split(":")[2].removesuffix("/v1")) for url in (server.url, gateway.url)]
            case.addresses = [(socket.AF_INET, ("127.0.0.1", port)) for port in ports]
            step = connection(case)
        assert step.outcome == "warning"
        assert "not every address does" in step.saw
        assert case.reached == case.addresses[1]

    def test_one_of_two_addresses_works(self) -> None:
        with serving(Gateway()) as gateway:
            port = gateway.url.rpartition(":")[2].removesuffix("/v1")
            found = look(f"http://localhost:{port}/v1")  # ::1 as well as 127.0.0.1 where there is IPv6
        assert found["connection"].outcome in ("ok", "warning")
        assert found.ok

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("/v1/chat/completions/chat/completions", None),
            ("/v1/models", "base_url ends in /models"),
            ("/v1/completions", "base_url ends in /completions"),
            ("/v1?api-version=1", "has a query"),
        ],
    )
    def test_a_url_that_cannot_be_right(self, path: str, said: str | None) -> None:
        found = look(f"http://127.0.0.1:1{path}")
        assert (said or "stands there twice") in only_failure(found, "address")
        assert found.requests == 0

    def test_plain_http_with_credentials(self) -> None:
        found = look("http://llm.example.invalid/v1", auth=ApiKey(KEY), allow_http=True)
        assert outcomes(found)["dns"] == "failed"  # it never got as far as that
        step = plain_http(case_of(Patient(llm=ChatLLM("m", "http://10.0.0.1/v1", auth=ApiKey(KEY), allow_http=True))))
        assert (step.outcome, "everybody on the way can read the credentials" in step.saw) == ("warning", True)


class TestProxies:
    def test_one_in_the_environment_is_not_used_and_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://user:pa55word@127.0.0.1:9")
        with serving(Gateway()) as gateway:
            found = look(gateway.url)
        assert found["proxy"].outcome == "warning"
        assert "http_proxy is set in the environment, but no proxy is used" in found["proxy"].saw
        assert found.ok

    def test_it_is_a_hint_where_there_is_no_way_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        found = look("https://llm.example.invalid/v1")
        assert "--proxy env" in only_failure(found, "dns")

    def test_one_that_makes_no_sense_harms_nothing_unused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
        with serving(Gateway()) as gateway:
            assert look(gateway.url).ok

    def test_no_proxy_is_heeded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving(Gateway()) as gateway:
            assert look(gateway.url)["proxy"].saw == "No proxy."

    def test_a_proxy_that_is_not_there(self) -> None:
        with faults.serve("refused") as server:
            proxy = server.url.removesuffix("/v1").replace("http://", "http://me:pa55word@")
            found = look("http://127.0.0.1:1/v1", transport_options={"proxy": proxy})
        assert found["proxy"].saw.startswith("Requests go through the proxy 127.0.0.1:")
        assert "refused" in only_failure(found, "connection")
        assert "pa55word" not in json.dumps(found.as_json())

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (Answer(407, {}), "answered HTTP 407"),
            (Answer(403, {}), "may not allow this host"),
        ],
    )
    def test_a_proxy_that_refuses(self, answer: Answer, said: str) -> None:
        with serving(Gateway(hook=lambda *_: answer, prefix="")) as proxy:
            found = look("https://127.0.0.1:1/v1", transport_options={"proxy": proxy.url})
        assert said in only_failure(found, "connection")

    def test_a_proxy_that_passes_plain_http_on(self) -> None:
        def pass_on(method: str, path: str, body: Any) -> Answer | None:
            path = path.removeprefix("http://llm.example.invalid")
            return behind.answer(method, path, {}, body)

        behind = Gateway()
        with serving(Gateway(hook=pass_on, prefix="")) as proxy:
            found = look("http://llm.example.invalid/v1", transport_options={"proxy": proxy.url})
        assert found.ok, found.failures
        assert found["tls"].outcome == "warning"

    def test_the_environments_proxy_when_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with faults.serve("refused") as server:
            monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
            found = look("http://llm.example.invalid/v1", transport_options={"proxy": "env"})
        assert "(from the environment)" in found["proxy"].saw
        only_failure(found, "connection")

    def test_something_that_is_no_proxy(self) -> None:
        for fault, said in (
            ("close_before_answer", "closed the connection"),
            ("garbage_bytes", "did not answer in HTTP"),
        ):
            with faults.serve(fault) as server:
                proxy = server.url.removesuffix("/v1")
                found = look("https://[::1]:1/v1", transport_options={"proxy": proxy})
            assert said in only_failure(found, "connection")

    def test_variables_that_name_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
        found = look("http://127.0.0.1:1/v1", transport_options={"proxy": "env"})
        assert "no URL of an HTTP proxy" in only_failure(found, "proxy")


class TestSignIn:
    def test_a_wrong_key(self) -> None:
        with serving(Gateway(token="another")) as gateway:
            said = only_failure(look(gateway.url, auth=ApiKey(KEY)), "access")
        assert "HTTP 401: Incorrect API key provided." in said
        assert "--api-key-header x-api-key" in said
        assert "The server asks for: Bearer, realm llm." in said

    def test_a_wrong_token(self) -> None:
        with serving(Gateway(token="another")) as gateway:
            said = only_failure(look(gateway.url, auth=BearerToken("not.a.jwt-after-all")), "access")
        assert "its issuer, audience and scopes" in said

    def test_a_key_in_the_wrong_header(self) -> None:
        with serving(Gateway(token=KEY, header="x-api-key")) as gateway:
            only_failure(look(gateway.url, auth=ApiKey(KEY)), "access")
            assert look(gateway.url, auth=ApiKey(KEY, header="x-api-key")).ok

    def test_no_key_at_all(self) -> None:
        with serving(Gateway(token=KEY)) as gateway:
            assert "Give a sign-in: --api-key-env" in only_failure(look(gateway.url), "access")

    def test_a_key_that_may_not(self) -> None:
        refuse = Answer(403, {"error": {"message": "Your project may not use this model."}})
        with serving(Gateway(hook=lambda *_: refuse)) as gateway:
            said = only_failure(look(gateway.url, auth=BearerToken(KEY)), "access")
        assert "HTTP 403: Your project may not use this model." in said
        assert "scopes" in said

    def test_an_expired_jwt_is_not_even_sent(self) -> None:
        issuer = JwtIssuer(secret="s3cret")
        with serving(Gateway()) as gateway:
            found = look(gateway.url, auth=BearerToken(issuer.issue("somebody", lifetime=-7200)))
            assert "It expired 2 hours ago" in only_failure(found, "sign_in")
            assert gateway.requests == []

    def test_a_jwts_claims_are_shown_and_not_the_token(self) -> None:
        token = jwt(iss="https://login.example.com", aud="llm", sub="somebody@example.com", scope="llm.use", exp=4e9)
        with serving(Gateway()) as gateway:
            found = look(gateway.url, auth=BearerToken(token))
        saw = found["sign_in"].saw
        assert "Authorization: Bearer <JWT>" in saw
        for shown in ("iss https://login.example.com", "aud llm", "sub some…", "scope llm.use", "expires in"):
            assert shown in saw
        assert "somebody" not in saw
        assert token.split(".")[1] not in json.dumps(found.as_json())

    def test_a_jwt_that_is_not_valid_yet(self) -> None:
        with serving(Gateway()) as gateway:
            found = look(gateway.url, auth=BearerToken(jwt(nbf=time.time() + 3600, exp=4e9)))
        assert found["sign_in"].outcome == "warning"
        assert "valid only from" in found["sign_in"].saw

    def test_a_jwt_without_expiry(self) -> None:
        with serving(Gateway()) as gateway:
            found = look(gateway.url, auth=BearerToken(jwt(aud=["a", "b"])))
        assert "aud a b" in found["sign_in"].saw
        assert "does not say when it expires" in found["sign_in"].saw

    def test_a_token_endpoint_that_refuses(self) -> None:
        refuse = {"error": "invalid_client", "error_description": "No such client"}

        def hook(method: str, path: str, body: Any) -> Answer | None:
            return Answer(401, refuse) if path == "/oauth/token" else None

        with serving(Gateway(hook=hook)) as gateway:
            url = gateway.url.replace("/v1", "/oauth/token")
            found = look(gateway.url, auth=ClientCredentials(url, "me", KEY))
            assert [path for _, path, _, _ in gateway.requests] == ["/oauth/token"]
        said = only_failure(found, "sign_in")
        assert "invalid_client: No such client" in said
        assert "check client_id and client_secret" in said
        assert found["clock"].outcome == "ok"  # the token endpoint told the time
        assert (found.requests, found.sign_in_requests) == (0, 1)

    def test_a_token_is_fetched_once_and_never_shown(self) -> None:
        answer = {"access_token": KEY, "token_type": "Bearer", "expires_in": 600}

        def hook(method: str, path: str, body: Any) -> Answer | None:
            return Answer(200, answer) if path == "/oauth/token" else None

        with serving(Gateway(hook=hook, token=KEY)) as gateway:
            url = gateway.url.replace("/v1", "/oauth/token")
            found = look(gateway.url, auth=ClientCredentials(url, "me", "cl1ent-s3cret"))
            assert [path for _, path, _, _ in gateway.requests].count("/oauth/token") == 1
        assert found.ok
        assert "which asked for a token" in found["sign_in"].saw
        assert "Authorization: Bearer …" in found["sign_in"].saw
        shown = json.dumps(found.as_json())
        assert KEY not in shown
        assert "cl1ent-s3cret" not in shown

    def test_a_token_function_that_fails(self) -> None:
        def broken() -> str:
            raise RuntimeError("the vault is sealed")

        found = look_at_good(auth=BearerToken(broken))
        assert "the vault is sealed" in only_failure(found, "sign_in")

    def test_a_sign_in_of_ones_own_that_sends_nothing(self) -> None:
        class Silent:
            def flow(self, request: Any) -> Iterator[Any]:
                yield from ()

        assert "yielded no request to send" in only_failure(look_at_good(auth=Silent()), "sign_in")

    def test_a_sign_in_of_ones_own_that_raises(self) -> None:
        class Broken:
            def flow(self, request: Any) -> Iterator[Any]:
                raise LookupError("no key file")
                yield request

        assert "no key file" in only_failure(look_at_good(auth=Broken()), "sign_in")

    def test_a_key_in_the_query_and_one_in_headers(self) -> None:
        assert "key=… in the query" in look_at_good(auth=ApiKey(KEY, query="key"), prefix="/v1")["sign_in"].saw
        assert "x-team: …" in look_at_good(auth=Headers({"x-team": "blue-team"}))["sign_in"].saw

    @pytest.mark.parametrize(("shift", "words"), [(3600, "60 minutes behind"), (-600, "10 minutes ahead of")])
    def test_a_clock_that_is_wrong(self, shift: int, words: str) -> None:
        date = {"Date": formatdate(time.time() + shift, usegmt=True)}

        def hook(method: str, path: str, body: Any) -> Answer | None:
            made = Gateway().answer(method, path, {}, body)
            return Answer(made.status, made.body, {**made.headers, **date})

        with serving(Gateway(hook=hook)) as gateway:
            found = look(gateway.url)
        assert found["clock"].outcome == "warning"
        assert f"This machine's clock is {words} the server's" in found["clock"].saw

    def test_no_time_told(self) -> None:
        with faults.serve("answer") as server:
            assert look(server.url)["clock"].outcome == "skipped"


def look_at_good(*, auth: Any = None, **settings: Any) -> Examination:
    with serving(Gateway(**settings)) as gateway:
        return look(gateway.url, auth=auth)


def jwt(**claims: Any) -> str:
    parts = [{"alg": "none"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*coded, "c2lnbmF0dXJl"])


class TestPlaceAndModel:
    def test_a_missing_version(self) -> None:
        with serving(Gateway()) as gateway:
            said = only_failure(look(gateway.url.removesuffix("/v1")), "base_url")
        assert "is not there (HTTP 404)" in said
        assert f"Set base_url to {gateway.url}: models are listed there." in said

    def test_a_wrong_path(self) -> None:
        with serving(Gateway(models=None, prefix="/api/v2")) as gateway:
            said = only_failure(look(gateway.url.replace("v2", "v3")), "base_url")
        assert "HTTP 404" in said
        assert "Check base_url" in said

    def test_a_page_of_html(self) -> None:
        page = Answer(200, "<html><title>Welcome</title></html>")
        with serving(Gateway(hook=lambda *_: page)) as gateway:
            said = only_failure(look(gateway.url), "base_url")
        assert "is a page of HTML, not an API (HTTP 200)" in said

    @pytest.mark.parametrize("location", ["https://elsewhere.example/v1/chat/completions", "/login"])
    def test_a_redirect(self, location: str) -> None:
        with serving(Gateway(hook=lambda *_: Answer(302, {}, {"Location": location}))) as gateway:
            said = only_failure(look(gateway.url, auth=ApiKey(KEY)), "base_url")
        assert f"redirect (HTTP 302) to {location}" in said
        assert "set base_url to the final address" in said

    def test_tls_where_plain_http_is_expected(self) -> None:
        with faults.serve("tls_on_plain_port") as server:
            assert "try https://" in only_failure(look(server.url), "base_url")

    def test_an_unknown_model(self) -> None:
        models = [{"id": name} for name in ("gpt-x", "gpt-x-mini", "embed-1")]
        with serving(Gateway(models=models)) as gateway:
            said = only_failure(look(gateway.url, model="gtp-x"), "model")
        assert "does not have the model 'gtp-x'" in said
        assert "gpt-x, gpt-x-mini, embed-1" in said
        assert "Did you mean 'gpt-x'?" in said

    def test_an_unknown_model_that_nothing_is_like(self) -> None:
        with serving(Gateway()) as gateway:
            assert "Take one of these." in only_failure(look(gateway.url, model="zzz"), "model")

    def test_an_unknown_model_without_a_list(self) -> None:
        refuse = Answer(400, {"error": {"message": "Invalid model name passed"}})
        with serving(Gateway(models=None, hook=lambda method, *_: refuse if method == "POST" else None)) as gateway:
            said = only_failure(look(gateway.url), "model")
        assert "does not list its models" in said

    def test_a_model_that_answers_though_it_is_not_listed(self) -> None:
        with serving(Gateway(models=[{"id": "other"}, {"id": "more"}])) as gateway:
            gateway.hook = lambda method, path, body: gateway.chat(body) if method == "POST" else None
            found = look(gateway.url)
        assert found["model"].outcome == "warning"
        assert found.ok

    def test_a_list_that_does_not_have_it_when_something_else_is_wrong(self) -> None:
        fail = Answer(500, {"error": {"message": "No memory"}})
        with serving(Gateway(models=[{"id": "other"}], hook=lambda m, *_: fail if m == "POST" else None)) as gateway:
            found = look(gateway.url)
        only_failure(found, "chat")
        assert "did not say that this is the fault" in found["model"].saw

    @pytest.mark.parametrize(
        ("listed", "model", "said"),
        [
            ([{"id": "only"}], "only", None),
            ([{"id": "a"}, {"id": "b"}], None, "there are 2: a, b."),
            (None, None, "the endpoint has no list of them"),
        ],
    )
    def test_without_a_models_name(self, listed: Any, model: str | None, said: str | None) -> None:
        with serving(Gateway(models=listed)) as gateway:
            found = examine(Patient(llm=ChatLLM("unknown", gateway.url), model_known=False), timeout=5)
        if said is None:
            assert found.ok
            assert found.llm.startswith("only at ")
        else:
            assert said in only_failure(found, "model")

    @pytest.mark.parametrize(
        ("status", "step"), [(401, "access"), (403, "access"), (302, "base_url"), (500, "chat"), (200, None)]
    )
    def test_without_a_models_name_other_faults_are_found(self, status: int, step: str | None) -> None:
        def hook(method: str, path: str, body: Any) -> Answer | None:
            return gateway.chat(body) if status == 200 and method == "POST" else Answer(status, {})

        with serving(Gateway(hook=hook)) as gateway:
            found = examine(Patient(llm=ChatLLM("default", gateway.url), model_known=False), timeout=5)
        assert [one.name for one in found.failures] == ([] if step is None else [step])
        assert found["model"].outcome == ("warning" if step is None else "skipped")

    def test_a_list_in_other_shapes(self) -> None:
        for body in ([{"id": "gpt-x"}], {"models": [{"id": "gpt-x"}, 7]}):
            found = look_with(lambda method, body_=body: Answer(200, body_) if method == "GET" else None)
            assert found["model"].outcome == "ok"
        for body in ("no list", {"data": 3}, {"data": []}, 5):
            found = look_with(lambda method, body_=body: Answer(200, body_) if method == "GET" else None)
            assert found["model"].outcome == "skipped"


def look_with(change: Callable[[str], Answer | None], **settings: Any) -> Examination:
    with serving(Gateway(hook=lambda method, *_: change(method), **settings)) as gateway:
        return look(gateway.url)


class TestTheFirstAnswer:
    @pytest.mark.parametrize(
        ("status", "said"),
        [(500, "The fault is the server's"), (429, "Too many requests"), (503, "The fault is the server's")],
    )
    def test_a_status(self, status: int, said: str) -> None:
        answer = Answer(
            status, {"error": {"message": "Not now"}}, {"Retry-After": "7", "x-ratelimit-remaining-requests": "0"}
        )
        found = look_with(lambda method: answer if method == "POST" else None)
        shown = only_failure(found, "chat")
        assert f"HTTP {status}: Not now." in shown
        assert said in shown
        assert "It asks to wait 7 s." in shown
        assert found["rate_limits"].outcome == "warning"  # its headers are told all the same
        assert "Used up" in found["rate_limits"].saw
        assert found["streaming"].saw == "Not tried, since chat failed."

    def test_an_account_that_is_empty(self) -> None:
        answer = Answer(429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
        assert "billing" in only_failure(look_with(lambda method: answer if method == "POST" else None), "chat")

    @pytest.mark.parametrize("fault", ["hang_at_accept", "hang_before_answer", "slow_body"])
    def test_too_slow(self, fault: str) -> None:
        with faults.serve(fault) as server:
            said = only_failure(look(server.url, timeout=1.0), "chat")
        assert "did not finish its answer within 1 s" in said
        assert "--timeout, now 1" in said

    def test_slow_but_in_time(self) -> None:
        case = case_of(Patient(llm=ChatLLM("m", "http://127.0.0.1:1/v1", timeout=10)))
        case.times = {"chat": 6.0, "tools": 1.5}
        step = latency(case)
        assert step.outcome == "warning"
        assert step.saw.startswith("Slow: chat 6.00 s, tools 1.50 s; these were tiny questions")

    def test_a_cut_connection(self) -> None:
        with faults.serve("reset_after_request") as server:
            said = only_failure(look(server.url), "chat")
        assert "broke the connection before it answered" in said

    def test_another_format(self) -> None:
        found = look_with(lambda method: Answer(200, {"answer": 42}) if method == "POST" else None)
        assert "write a subclass of HttpLLM" in only_failure(found, "chat")

    def test_a_model_that_thinks_first(self) -> None:
        message = {"role": "assistant", "content": ""}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
        found = look_with(lambda method: Answer(200, body) if method == "POST" else None)
        assert found["chat"].outcome == "warning"
        assert "models that think first" in found["chat"].saw

    def test_a_model_that_wants_another_name_for_max_tokens(self) -> None:
        said = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}

        def hook(method: str, path: str, body: Any) -> Answer | None:
            return Answer(400, said) if isinstance(body, dict) and "max_tokens" in body else None

        with serving(Gateway(hook=hook)) as gateway:
            assert look(gateway.url).ok


class TestAbilities:
    def test_no_streaming(self) -> None:
        with serving(Gateway(streams=False)) as gateway:
            said = only_failure(look(gateway.url), "streaming")
            assert "It does not stream: asked for events, it sent the whole answer as application/json" in said
            found = examine(Patient(llm=ChatLLM("gpt-x", gateway.url), streams=False))
        assert found["streaming"].outcome == "skipped"
        assert found.ok

    def test_a_broken_stream(self) -> None:
        events = Answer(
            200,
            'data: {"choices": [{"delta": {"content": "1"}}]}\n\ndata: {oh no',
            {"Content-Type": "text/event-stream"},
        )
        with serving(Gateway()) as gateway:
            gateway.hook = lambda m, p, body: events if body and body.get("stream") else None
            said = only_failure(look(gateway.url), "streaming")
        assert "The stream failed" in said

    def test_a_stream_without_its_end(self) -> None:
        found = look_at_good(done=False)
        assert found["streaming"].outcome == "warning"
        assert "no [DONE]" in found["streaming"].saw
        assert found.ok

    def test_tools_that_are_ignored(self) -> None:
        with serving(Gateway(tools=False)) as gateway:
            said = only_failure(look(gateway.url), "function_calling")
            assert "ignored the tool" in said
            assert "function_calling=False" in said
            found = look(gateway.url, function_calling=False)
        assert found["function_calling"].outcome == "skipped"
        assert found.ok

    def test_tools_that_are_refused(self) -> None:
        refuse = Answer(400, {"error": {"message": "tools is not supported"}})
        with serving(Gateway()) as gateway:
            gateway.hook = lambda m, p, body: refuse if body and "tools" in body else None
            assert "tools is not supported" in only_failure(look(gateway.url), "function_calling")

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            ({"name": "get_weather", "arguments": "{Paris"}, "arguments that are no JSON"),
            ({"name": "search", "arguments": "{}"}, "not for the tool as offered"),
        ],
    )
    def test_tools_that_are_used_badly(self, function: dict[str, str], said: str) -> None:
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}
        answer = Answer(200, {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
        with serving(Gateway()) as gateway:
            gateway.hook = lambda m, p, body: answer if body and "tools" in body else None
            found = look(gateway.url)
        assert found["function_calling"].outcome == "warning"
        assert said in found["function_calling"].saw

    def test_stop_words_that_are_ignored(self) -> None:
        said = only_failure(look_at_good(stops=False), "stop_words")
        assert "ignored the stop word '5'" in said
        assert "supports_stop_words" in said

    def test_stop_words_that_are_refused(self) -> None:
        refuse = Answer(400, {"error": {"message": "stop is not supported"}})
        with serving(Gateway()) as gateway:
            gateway.hook = lambda m, p, body: refuse if body and "stop" in body else None
            assert "stop is not supported" in only_failure(look(gateway.url), "stop_words")

    def test_a_model_that_cannot_count(self) -> None:
        with faults.serve("answer") as server:
            found = look(server.url)
        assert found["stop_words"].outcome == "warning"

    def test_schemas_that_are_refused(self) -> None:
        found = look_at_good(schemas=False)
        assert found["json_mode"].outcome == "warning"
        assert found["json_mode"].facts == {"json_schema": False, "json_object": True}
        assert found.ok

    def test_no_json_at_all(self) -> None:
        refuse = Answer(400, {"error": {"message": "response_format is not supported"}})
        with serving(Gateway()) as gateway:
            gateway.hook = lambda m, p, body: refuse if body and "response_format" in body else None
            found = look(gateway.url)
        assert "knows neither" in found["json_mode"].saw
        assert found.ok


class TestFigures:
    def test_no_usage(self) -> None:
        found = look_at_good(reports_usage=False)
        assert found["usage"].outcome == "warning"
        assert "do not say how many tokens" in found["usage"].saw

    @pytest.mark.parametrize(
        ("entry", "outcome", "told"),
        [
            ({"max_model_len": 4096}, "warning", 4096),
            ({"context_length": 131072}, "ok", 131072),
            ({"meta": {"n_ctx_train": 8192}}, "ok", 8192),
            ({"context_window": "big"}, "skipped", None),
        ],
    )
    def test_the_context_window(self, entry: dict[str, Any], outcome: str, told: int | None) -> None:
        found = look_at_good(models=[{"id": "gpt-x", **entry}])
        assert found["context_window"].outcome == outcome
        assert found["context_window"].facts.get("told") == told

    def test_no_limits(self) -> None:
        assert look_at_good()["rate_limits"].outcome == "skipped"

    def test_limits_of_something(self) -> None:
        found = look_at_good(limits={"ratelimit-remaining": "3", "ratelimit-reset": "30"})
        assert found["rate_limits"].saw == "3 of something left, all again in 30 s."


class Parrot(BaseLLM):
    """A custom LLM that keeps none of the things it claims."""

    claims = False

    def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
        return "1 2 3 4 5 6"

    def supports_function_calling(self) -> bool:
        return self.claims

    def supports_stop_words(self) -> bool:
        return self.claims


class TestCustomLLMs:
    def test_only_what_makes_sense_is_looked_at(self) -> None:
        found = examine(Patient(llm=Parrot()))
        assert list(outcomes(found)) == [
            *("chat", "streaming", "function_calling", "stop_words", "json_mode", "context_window", "usage"),
            "latency",
        ]
        assert found.ok

    def test_claims_are_tried(self) -> None:
        class Boaster(Parrot):
            claims = True

        found = examine(Patient(llm=Boaster()))
        only_failure(found, "function_calling")
        assert found["stop_words"].outcome == "ok"  # the library cuts the text in any case

    def test_one_that_fails(self) -> None:
        class Broken(Parrot):
            def call(self, messages: Any, **_: Any) -> str:
                raise RuntimeError("no such vault")

        assert "no such vault" in only_failure(examine(Patient(llm=Broken())), "chat")

    @pytest.mark.parametrize(
        ("raised", "advice"),
        [
            (ValueError("Authentication failed: Invalid JWT token"), "not expired"),
            (ValueError("Authorization failed: Insufficient permissions"), "permissions"),
            (TimeoutError("LLM request timed out"), "more time"),
        ],
    )
    def test_the_pages_own_errors(self, raised: Exception, advice: str) -> None:
        class Broken(Parrot):
            def call(self, messages: Any, **_: Any) -> str:
                raise raised

        assert advice in only_failure(examine(Patient(llm=Broken())), "chat")

    def test_one_that_returns_nothing(self) -> None:
        class Mute(Parrot):
            def call(self, messages: Any, **_: Any) -> Any:
                return None

        assert "Return a text" in only_failure(examine(Patient(llm=Mute())), "chat")

    def test_one_whose_claims_raise(self) -> None:
        class Broken(Parrot):
            def get_context_window_size(self) -> int:
                raise RuntimeError("who knows")

        assert "who knows" in only_failure(examine(Patient(llm=Broken())), "context_window")

    def test_an_http_llm_with_a_protocol_of_its_own(self) -> None:
        class Private(HttpLLM):
            def encode(self, request: Any) -> dict[str, Any]:
                return {"question": request.messages[-1]["content"]}

            def decode(self, response: Any) -> str:
                return str(json.loads(response.body)["answer"])

            def supports_stop_words(self) -> bool:
                return False

        with serving(Gateway(hook=lambda *_: Answer(200, {"answer": "Yes"}))) as gateway:
            llm = Private("ours", gateway.url, auth=ApiKey(KEY), function_calling=False)
            found = examine(Patient(llm=llm))
        assert found.ok
        assert all(method == "POST" for method, *_ in gateway.requests)
        assert found["chat"].saw.startswith("ours answered 'Yes'")
        assert found["json_mode"].outcome == "skipped"
