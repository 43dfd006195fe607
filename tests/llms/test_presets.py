"""`LLM("provider/model")`: where it asks, with which key, and what it says about itself. Only loopback is ever asked."""

import copy
import inspect
import pickle

import pytest

import oarlock
from oarlock import LLM, ChatLLM, ConfigurationError, LocalLLM, Request
from oarlock.auth import ApiKey
from oarlock.llms.llm import _KNOWN
from oarlock.llms.presets import PRESETS
from oarlock.policies import Retry
from oarlock.testing import LoopbackEndpoint, require_bearer, require_header

KEYED = sorted(name for name, preset in PRESETS.items() if preset.needs_key)
VARIABLES = {one for preset in PRESETS.values() for one in (*preset.url_variables, *preset.key_variables)}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def endpoint():
    with LoopbackEndpoint("Hello.") as server:
        yield server


def built(provider, **settings):
    if not PRESETS[provider].base_url:
        settings.setdefault("base_url", "https://example.invalid")
    return LLM(f"{provider}/some-model", **settings)


@pytest.mark.parametrize("provider", PRESETS)
class TestEveryProvider:
    def test_building_one_needs_neither_key_nor_network(self, provider):
        llm = built(provider)
        assert isinstance(llm, ChatLLM)
        assert (llm.provider, llm.model) == (provider, "some-model")
        assert llm.base_url.startswith(("https://", "http://127.0.0.1:"))
        assert repr(llm).startswith(f"LLM('{provider}/some-model', base_url=")

    def test_it_asks_there_with_the_key_of_its_variable(self, provider, endpoint, monkeypatch):
        preset = PRESETS[provider]
        monkeypatch.setenv(preset.url_variables[0], endpoint.url)
        for variable in preset.key_variables[-1:]:
            monkeypatch.setenv(variable, "the-secret-key")
        llm = LLM(f"{provider}/some-model")
        assert llm.call("Hi") == "Hello."
        assert "".join(map(str, llm.stream("Hi"))) == "Hello."
        for request in endpoint.requests:
            assert request.json["model"] == "some-model"
            sent = request.headers.get(preset.key_header)
            prefix = "Bearer " if preset.key_header == "Authorization" else ""
            assert sent == (f"{prefix}the-secret-key" if preset.key_variables else None)

    def test_a_given_key_wins_and_stays_hidden(self, provider, endpoint, monkeypatch):
        for variable in PRESETS[provider].key_variables:
            monkeypatch.setenv(variable, "not-this-one")
        header = PRESETS[provider].key_header
        check = (
            require_bearer("the-secret-key") if header == "Authorization" else require_header(header, "the-secret-key")
        )
        with LoopbackEndpoint("Hello.", auth=check) as guarded:
            llm = built(provider, api_key="the-secret-key", base_url=guarded.url)
            assert llm.call("Hi") == "Hello."
        assert "the-secret-key" not in f"{llm!r} {llm.auth!r} {vars(llm)}"

    def test_the_limit_of_tokens_goes_by_the_endpoints_name(self, provider, endpoint):
        built(provider, api_key="k3y", base_url=endpoint.url, max_tokens=7).call("Hi")
        sent = endpoint.requests[0].json
        assert {name: sent[name] for name in ("max_tokens", "max_completion_tokens") if name in sent} == {
            PRESETS[provider].max_tokens_name: 7
        }


@pytest.mark.parametrize("provider", KEYED)
def test_a_missing_key_is_named_at_the_first_call_and_nothing_is_sent(provider, endpoint):
    llm = LLM(f"{provider}/some-model", base_url=endpoint.url)
    variable = PRESETS[provider].key_variables[0]
    with pytest.raises(ConfigurationError, match=f"{provider}/some-model' needs a key, .* {variable} is not set"):
        llm.call("Hi")
    assert endpoint.requests == []


def test_a_key_that_is_set_later_is_found(endpoint, monkeypatch):
    llm = LLM("openai/gpt-4o", base_url=endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", "the-secret-key")
    assert llm.call("Hi") == "Hello."
    assert repr(llm.auth) == "ApiKey(env:OPENAI_API_KEY)"


@pytest.mark.parametrize("provider", ["vllm", "lmstudio", "ollama"])
def test_where_no_key_is_needed_another_machine_of_ones_own_is_asked_in_the_clear(provider, monkeypatch):
    assert LLM(f"{provider}/m", base_url="http://gpu-box:8000").auth is None
    for variable in PRESETS[provider].key_variables[:1]:
        monkeypatch.setenv(variable, "the-secret-key")
        with pytest.raises(ConfigurationError, match="allow_http=True"):
            LLM(f"{provider}/m", base_url="http://gpu-box:8000")
        assert LLM(f"{provider}/m", base_url="http://gpu-box:8000", allow_http=True).auth is not None


def test_a_missing_address_is_named_when_it_is_built():
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_ENDPOINT, or pass base_url="):
        LLM("azure/my-deployment")


@pytest.mark.parametrize(
    ("model", "given", "url"),
    [
        ("azure/m", "https://me.openai.azure.com/", "https://me.openai.azure.com/openai/v1"),
        ("ollama/m", "http://localhost:11434", "http://localhost:11434/v1"),
        ("ollama/m", "http://localhost:11434/v1", "http://localhost:11434/v1"),
        ("anthropic/m", "https://gateway.example.com", "https://gateway.example.com/v1"),
        ("openai/m", "https://gateway.example.com", "https://gateway.example.com"),
    ],
)
def test_an_address_that_ends_with_the_host_gets_the_providers_path(model, given, url, monkeypatch):
    assert LLM(model, base_url=given).base_url == url
    monkeypatch.setenv(PRESETS[model.partition("/")[0]].url_variables[0], given)
    assert LLM(model).base_url == url


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("opnai/gpt-4o", r"no provider 'opnai'\. Did you mean 'openai/gpt-4o'\?"),
        ("OpenAI/gpt-4o", r"Did you mean 'openai/gpt-4o'\?"),
        (
            "zzz/gpt-4o",
            r"no provider 'zzz'\. Write 'provider/model' with one of anthropic, azure, .*, local; for any other",
        ),
        ("gpt-4o", r"'gpt-4o' names no provider\. Write 'provider/model'"),
        ("openai/", r"'openai/' names no model"),
        ("", "model must be a text"),
        (None, "model must be a text"),
        (7, "model must be a text"),
    ],
)
def test_a_name_that_means_nothing(model, said):
    with pytest.raises(ConfigurationError, match=said):
        LLM(model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temprature": 0}, "LLM has no argument 'temprature'. Did you mean 'temperature'"),
        ({"api_key": "k3y", "auth": ApiKey("k3y")}, "give api_key or auth, not both"),
        ({"base_url": "nowhere"}, "base_url must begin with http://"),
        ({"base_url": 7}, "base_url must be the endpoint's URL"),
        ({"base_url": "http://[x"}, "base_url is no valid URL"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_settings_that_cannot_work(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        LLM("ollama/m", **settings)


def test_it_takes_what_chat_llm_takes():
    assert set(_KNOWN) == {"api_key", *inspect.signature(ChatLLM).parameters}


def test_settings_pass(endpoint):
    llm = LLM(
        "mistral/m",
        base_url=endpoint.url,
        auth=ApiKey("k3y", header="x-key"),
        temperature=0.5,
        stop="END",
        timeout=5,
        policies=[Retry(2)],
        options={"top_p": 0.9},
        function_calling=False,
        context_window=1000,
    )
    assert "".join(map(str, llm.stream("Hi"))) == "Hello."
    sent = endpoint.requests[0]
    assert sent.headers["x-key"] == "k3y"
    assert {name: sent.json.get(name) for name in ("temperature", "stop", "top_p")} == {
        "temperature": 0.5,
        "stop": ["END"],
        "top_p": 0.9,
    }
    assert "stream_options" not in sent.json
    assert (llm.supports_function_calling(), llm.get_context_window_size(), llm.timeout) == (False, 1000, 5)


def test_with_an_address_any_name_is_a_models(endpoint):
    llm = LLM("meta-llama/Llama-3", base_url=endpoint.url)
    assert llm.call("Hi") == "Hello."
    assert endpoint.requests[0].json["model"] == "meta-llama/Llama-3"
    assert repr(llm) == f"LLM('meta-llama/Llama-3', base_url='{endpoint.url}')"
    assert "authorization" not in endpoint.requests[0].headers


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("openai/gpt-4o-mini", 128_000),
        ("openai/gpt-4", 8192),
        ("openai/gpt-4.1-mini", 1_047_576),
        ("openrouter/anthropic/claude-sonnet-4", 200_000),
        ("openai/something-new", 8192),
        ("ollama/llama3.2", 8192),
    ],
)
def test_context_windows(model, window):
    assert LLM(model).get_context_window_size() == window


def test_models_that_refuse_stop_words_are_sent_none_but_the_users_own(endpoint):
    request = Request(messages=[{"role": "user", "content": "Hi"}], stop=("\nObservation:",))
    asked = {"api_key": "k3y", "base_url": endpoint.url}
    for llm in (LLM("openai/o3", **asked), LLM("openai/gpt-4o", **asked), LLM("openai/o3", stop="END", **asked)):
        llm.complete(request)
    assert [one.json.get("stop") for one in endpoint.requests] == [None, ["\nObservation:"], ["END"]]
    assert not LLM("openai/o3").supports_stop_words()
    assert LLM("openai/gpt-4o").supports_stop_words()


def test_what_endpoints_can_do():
    assert LLM("openai/m").supports_json_schema()
    assert not LLM("anthropic/m").supports_json_schema()
    assert LLM("anthropic/m").supports_function_calling()


def test_a_copy_and_a_pickle_work_as_well(endpoint):
    llm = LLM("ollama/m", base_url=endpoint.url)
    for one in (copy.copy(llm), copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert (repr(one), one.call("Hi")) == (repr(llm), "Hello.")


def test_a_subclass_with_a_call_of_its_own():
    class Mine(LLM):
        def call(self, messages, tools=None, callbacks=None, available_functions=None):
            return f"mine: {self.model}"

    assert Mine("openai/m").call("Hi") == "mine: m"


def test_local_models():
    with pytest.raises(ConfigurationError, match=r"there is no file nope\.gguf"):
        LLM("local/nope.gguf")
    llm = LLM("local/", temperature=0)
    assert isinstance(llm, LocalLLM)
    assert llm.temperature == 0


def test_it_is_a_root_name_and_the_name_it_displaced_can_still_be_imported():
    assert "LLM" in oarlock.__all__
    assert oarlock.ReplyTooLarge.__name__ == "ReplyTooLarge"
