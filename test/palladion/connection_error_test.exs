defmodule Palladion.ConnectionErrorTest do
  use ExUnit.Case, async: true

  alias Palladion.ConnectionError

  doctest ConnectionError

  test "every reason says what happened and what to do, each in its own words" do
    messages =
      for reason <- ConnectionError.reasons() do
        message = Exception.message(ConnectionError.from_native({reason, %{}}))

        assert [what, advice] = String.split(message, ". ", parts: 2), message
        assert String.length(what) > 15, message
        assert String.length(advice) > 25, message
        assert String.ends_with?(advice, [".", "?"]), message
        refute what =~ "failed with", message
        {what, advice}
      end

    {whats, advices} = Enum.unzip(messages)
    assert whats == Enum.uniq(whats)
    assert advices == Enum.uniq(advices)
  end

  test "what is wrong with a certificate is told with what makes a good one" do
    for {reason, advice} <- [
          certificate_v1: ["-extfile", "subjectAltName", "v3"],
          certificate_self_signed: ["this very certificate as tls: [cacertfile: ", "pinned: "],
          no_subject_alt_name: ["Common names are not read", "subjectAltName"],
          address_mismatch: ["subjectAltName IP:", "verify_hostname: "],
          pin_mismatch: ["pinned: "],
          revocation_unknown: ["crlfile: "],
          client_certificate_missing: ["certfile: ", "keyfile: "],
          cipher_mismatch: ["ciphers: ", "supported_groups: "]
        ] do
      message = Exception.message(%ConnectionError{reason: reason})
      for text <- advice, do: assert(message =~ text)
    end
  end

  test "what is wrong with a login is told with where to look" do
    for {reason, advice} <- [
          auth_required: ["username: ", "credentials:", "sigv4:", "authenticator:", "certfile: "],
          mechanism_refused: ["mechanism: "],
          signature_refused: ["clock", "region: ", "IAM policy", "session token"],
          credentials_missing: ["AWS_ACCESS_KEY_ID", "profile: ", "access_key_id: "],
          credentials_timeout: ["timeout: "],
          authenticator_timeout: ["timeout: "],
          server_not_authentic: ["may not be your server"]
        ] do
      message = Exception.message(%ConnectionError{reason: reason})
      for text <- advice, do: assert(message =~ text)
    end
  end

  # Kinds cross as names; what the native library says must have a text here.
  test "the native library has no other reasons" do
    source = File.read!(Path.expand("../../native/nif/src/errors.rs", __DIR__))
    named = Regex.scan(~r/named\("(\w+)"\)/, source)
    chosen = Regex.scan(~r/(?:Failure|Step)::\w+(?:\(_\))? => "(\w+)"/, source)
    kinds = for [_, kind] <- named ++ chosen, uniq: true, do: String.to_atom(kind)

    assert :connect_timeout in kinds and :unknown_ca in kinds
    # A Palladion.Error is one of them.
    assert (kinds -- [:unsupported]) -- ConnectionError.reasons() == []
  end

  test "the endpoint and the facts are in the message" do
    error =
      ConnectionError.from_native(
        {:name_mismatch, %{endpoint: "db1:9042", name: "db1", names: ["a.example", "b.example"]}}
      )

    assert %ConnectionError{reason: :name_mismatch, endpoint: "db1:9042"} = error
    assert error.details == %{name: "db1", names: ["a.example", "b.example"]}

    assert Exception.message(error) =~
             ~s{db1:9042: the server's certificate is for another name (checked for "db1"; } <>
               ~s{the certificate is for "a.example", "b.example"). Use one of its names}
  end

  test "each fact has its wording" do
    for {details, text} <- [
          {%{not_after: 1_700_000_000}, "valid until 2023-11-14 22:13:20Z"},
          {%{not_before: 1_700_000_000}, "valid from 2023-11-14 22:13:20Z"},
          {%{not_after: 1_000_000_000_000_000}, "valid until 1000000000000000"},
          {%{fingerprint: "00ff"}, ~s{its SHA-256 fingerprint is "00ff"}},
          {%{timeout: 5_000}, "after 5000 ms"},
          {%{address: "10.0.0.1:9042"}, ~s{at "10.0.0.1:9042"}},
          {%{class: "com.example.Auth"}, ~s{its authenticator is "com.example.Auth"}},
          {%{mechanism: "SCRAM-SHA-256"}, ~s{the mechanism is "SCRAM-SHA-256"}},
          {%{server_message: "no"}, ~s{the server says "no"}},
          {%{server_version: 3}, "it speaks version 3"},
          {%{compression: "lz4", offered: ["snappy"]}, ~s{asked for "lz4"; it offers "snappy"}},
          {%{compression: "lz4", offered: []}, ~s{asked for "lz4"; it offers none}},
          {%{detail: "BadDer"}, ~s{"BadDer"}},
          {%{errno: 111}, "error code 111"},
          {%{names: Enum.map(1..7, &"n#{&1}")}, ~s{"n4", "n5" and 2 more}},
          {%{last_error: {:connection_refused, %{endpoint: "db2:9042"}}},
           "last error: db2:9042: nothing listens on that port"},
          {%{code: 0x1000}, "its error code is 4096"},
          {%{count: 3}, "3 of them"},
          {%{sent: false}, "the request had not been sent"},
          {%{sent: true}, "may have been executed"},
          {%{cause: {:panic, %{detail: "d"}}}, ~s{because: something in Palladion's native part}},
          {%{cause: {:tls_failed, %{detail: "d"}}}, ~s{the TLS handshake failed ("d"). }},
          {%{datacenter: "eu", datacenters: ["us", "asia"]},
           ~s{it is "eu"; there are nodes in "us", "asia"}},
          {%{last_error: "text"}, ~s{last error: "text"}}
        ] do
      assert Exception.message(ConnectionError.from_native({:tls_failed, details})) =~ text
    end
  end

  test "an unknown cluster is named" do
    error = ConnectionError.from_native({:unknown_cluster, %{name: inspect(MyApp.DB)}})
    assert Exception.message(error) =~ "no cluster with this name is running (MyApp.DB). "
  end

  test "what the server says can't write lines of its own" do
    error = ConnectionError.from_native({:bad_credentials, %{server_message: "a\n[error] b"}})
    refute Exception.message(error) =~ "\n"
  end

  test "unknown kinds and fields have a message too" do
    error = ConnectionError.from_native({:brand_new, %{endpoint: "db1:9042", anything: self()}})
    assert Exception.message(error) =~ "db1:9042: failed with brand_new. "
  end
end
