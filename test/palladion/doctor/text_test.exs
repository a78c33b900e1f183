defmodule Palladion.Doctor.TextTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Doctor, only: [seen: 0, seen: 1, probe: 1]

  alias Palladion.Doctor.Report

  defp text(seen), do: seen |> Report.build() |> Report.to_text()

  test "a report without a problem" do
    assert text(seen()) ==
             """
             db1.example:9042 (10.0.0.1)

             [ok]      DNS: 1 address in 0.4 ms
                       10.0.0.1
             [ok]      TCP: port 9042 is open
                       10.0.0.1: connected in 0.2 ms
             [ok]      TLS: TLS 1.3 and TLS 1.2
                       TLS 1.3: TLS13_AES_256_GCM_SHA384, x25519, full handshake in 2.1 ms
                       TLS 1.2: TLS13_AES_256_GCM_SHA384, x25519, full handshake in 2.1 ms
                       TLS 1.1: refused, as it should be
                       TLS 1.0: refused, as it should be
             [ok]      Certificates: 1 certificate, valid for 364 days
                       1. O=Example,CN=db1.example
                          issuer:   CN=Example CA
                          names:    db1.example, 10.0.0.1
                          key:      ECDSA secp256r1, X.509 v3
                          validity: 2025-12-31 to 2026-12-31, 364 days left
                          sha256:   FINGERPRINT
             [ok]      Trust: the certificate is trusted
             [ok]      Name: the certificate is for db1.example
             [ok]      Client certificate: not asked for
             [ok]      Resumption: with TLS 1.3 and TLS 1.2
                       TLS 1.3: 2 tickets, the second handshake was resumed
                       TLS 1.2: a session, the second handshake was resumed
             [ok]      CQL: protocol version 5
                       CQL: 3.4.6
                       protocol: 3/v3, 4/v4, 5/v5
                       compression: snappy, lz4
             [ok]      Authenticator: org.apache.cassandra.auth.PasswordAuthenticator
             [ok]      Login: accepted (PLAIN)

             All well.
             """
             |> String.trim_trailing()
             |> String.replace("FINGERPRINT", fingerprint())
  end

  defp fingerprint do
    :crypto.hash(:sha256, Palladion.Test.Doctor.certificate()) |> Base.encode16(case: :lower)
  end

  test "a report of a server that isn't trusted" do
    verdict = {:unknown_ca, %{}}
    text = text(seen(probes: ["tlsv1.3": probe(tls: [verdict: verdict], cql: nil)]))

    assert text =~
             """
             [PROBLEM] Trust: the server's certificate comes from an authority that is not trusted
                       -> Give that authority's certificate as tls: [cacertfile: ...];
             """
             |> String.trim_trailing()

    assert text =~ "[-]       Name: not checked, for it isn't trusted\n"
    assert text =~ "\n1 problem."
  end

  test "what wasn't reached stands in one line" do
    text = text(seen(resolution: {:error, :nxdomain}, dials: [], probes: [], address: nil))
    assert text =~ "[-]       Not reached: TCP, TLS, Certificates,"
    assert length(String.split(text, "Not reached")) == 2
  end

  test "warnings are no problems" do
    text = text(seen(old_versions: ["tlsv1.1": :accepted, tlsv1: :refused]))
    assert text =~ "[WARNING] TLS: TLS 1.3 and TLS 1.2, but also the insecure TLS 1.1\n"
    assert text =~ "\nNo problem, 1 warning."
  end

  test "no line of advice is longer than the terminal" do
    for reason <- Palladion.ConnectionError.reasons() do
      text = text(seen(probes: ["tlsv1.3": probe(cql: [login: {reason, %{}}])]))
      [_, advice] = Regex.run(~r/Login:.*?\n(.*?)\n\n/s, text)
      for line <- String.split(advice, "\n"), do: assert(String.length(line) <= 100)
    end
  end

  test "a long summary goes on in the next line, and no option is torn from its value" do
    details = %{name: "db1.example", names: for(n <- 1..5, do: "host-#{n}.elsewhere.example")}
    text = text(seen(probes: ["tlsv1.3": probe(tls: [verdict: {:name_mismatch, details}])]))
    for line <- String.split(text, "\n"), do: assert(String.length(line) <= 100)

    assert text =~ ~r/\n {10}[^ ].*"host-5.elsewhere.example"\)\n/
    assert text =~ "\n             tls: [verify_hostname: ...]. If none is expected"
  end

  test "what goes on in the next line stands below what it belongs to" do
    class = String.duplicate("c", 60)
    supported = %{"COMPRESSION" => [class, class]}
    text = text(seen(probes: ["tlsv1.3": probe(cql: [supported: supported])]))
    assert text =~ "          compression: #{class},\n                       #{class}\n"
  end

  test "what stands in one line says why" do
    verdict = {:unknown_ca, %{}}

    text =
      text(seen(probes: ["tlsv1.3": probe(tls: [verdict: verdict], cql: nil, resumption: nil)]))

    assert text =~
             "[-]       Not tried with a server that isn't verified: " <>
               "Resumption, CQL, Authenticator, Login\n"

    text = text(seen(settings: [tls: false, verify: :none], probes: [{nil, probe(tls: nil)}]))

    assert text =~
             "[-]       Not there without TLS: " <>
               "Certificates, Trust, Name, Client certificate, Resumption\n"
  end

  test "that no login was tried is no good news" do
    text = text(seen(settings: [login: false], probes: both(probe(cql: [login: :not_tried]))))
    assert text =~ "\n\nNo problem. The login was not tried."
  end

  defp both(probe), do: ["tlsv1.3": probe, "tlsv1.2": probe]

  test "what the server sent can't write to the terminal" do
    cql = [authenticator: "a\e[2J\nb", supported: %{"CQL_VERSION" => ["\e]0;x\a"]}]
    text = text(seen(probes: ["tlsv1.3": probe(cql: cql)]))
    assert text =~ ~S(Authenticator: a\1B[2J\0Ab)
    refute text =~ ~r/[\x00-\x09\x0b-\x1f]/

    empty = [authenticator: "", supported: %{"CQL_VERSION" => [""]}]
    assert text(seen(probes: ["tlsv1.3": probe(cql: empty)])) =~ "Authenticator: \n"
  end

  test "what the server sent is told up to a kilobyte" do
    long = String.duplicate("x", 500_000)
    cql = [authenticator: long, supported: %{"CQL_VERSION" => List.duplicate(long, 5)}]
    seen = seen(probes: ["tlsv1.3": probe(cql: cql)])
    assert byte_size(text(seen)) < 10_000
    assert seen |> Report.build() |> Report.to_json() |> byte_size() < 20_000
  end

  test "several reports have a line between them" do
    report = Report.build(seen())
    assert Report.to_text([report, report]) =~ "All well.\n\ndb1.example:9042"
  end
end
