defmodule Palladion.Integration.TLSRefusedTest do
  @moduledoc """
  What is said of servers that no level of identity takes, or only when told to. `TLSLevelsTest` has those that Cassandra plays.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.Clusters
  import Palladion.Test.Refusals

  alias Palladion.Test.{Authority, Testkit, TLSServer}

  setup_all do
    %{tmp_dir: directory} = tmp_dir(%{})
    %{directory: directory, authority: Authority.create!(directory, "authority")}
  end

  @san "subjectAltName=DNS:localhost,IP:127.0.0.1"
  @authority_itself ["basicConstraints=critical,CA:TRUE", @san]

  # A server of the testkit, what the client is told beside its authority, the reason, and what the advice is about.
  @testkit [
    {"expired", [validity: :expired], [], :certificate_expired, "clock"},
    {"not valid yet", [validity: :not_yet], [], :certificate_not_yet_valid, "clock"},
    {"expired, with no name checked", [validity: :expired], [verify_hostname: false],
     :certificate_expired, "clock"},
    {"self-signed", [issuer: :self], [], :certificate_self_signed, "pinned:"},
    {"another authority", [issuer: :unrelated], [], :unknown_ca, "cacertfile:"}
  ]

  for {title, server, tls, reason, about} <- @testkit do
    @tag server: server, tls: tls, reason: reason, about: about
    test "refused: #{title}", context do
      server = Testkit.start_server(context.server)
      tls = [cacertfile: server.cacertfile] ++ context.tls
      assert_refused(server, tls, context.reason, context.about)
    end
  end

  # How the server's certificate is made, more arguments of `openssl s_server`, what the client trusts, and the rest as above.
  @openssl [
    {"X.509 v1", {:issue, v1: true}, [], [:ca], :certificate_v1, "v3"},
    {"X.509 v1, with no name checked", {:issue, v1: true}, [], [:ca, verify_hostname: false],
     :certificate_v1, "v3"},
    {"a common name only", {:issue, []}, [], [:ca], :no_subject_alt_name, "subjectAltName"},
    {"a signature of itself", {:self_signed, [@san]}, [], [:ca], :certificate_self_signed,
     "pinned:"},
    {"a signature of itself as an authority", {:self_signed, @authority_itself}, [], [:ca],
     :certificate_self_signed, "pinned:"},
    {"a trusted signature of itself, but another name", {:self_signed, [@san]}, [],
     [:itself, verify_hostname: "elsewhere.example"], :name_mismatch, "verify_hostname:"},
    {"a trusted signature of itself, but no name", {:self_signed, nil}, [], [:itself],
     :no_subject_alt_name, "subjectAltName"},
    {"an intermediate that isn't sent", :below_intermediate, [], [:ca], :unknown_ca,
     "cacertfile:"},
    {"TLS 1.1 only", {:issue, extensions: [@san]}, ~w(-tls1_1 -cipher DEFAULT@SECLEVEL=0), [:ca],
     :tls_version, "1.2"},
    {"no common cipher suite", {:issue, extensions: [@san]}, ~w(-tls1_2 -cipher AES128-SHA),
     [:ca], :cipher_mismatch, "ciphers:"},
    {"no common group", {:issue, extensions: [@san]}, ~w(-tls1_3 -groups P-521), [:ca],
     :cipher_mismatch, "supported_groups:"}
  ]

  for {title, certificate, arguments, tls, reason, about} <- @openssl do
    @tag certificate: certificate, arguments: arguments, tls: tls, reason: reason, about: about
    test "refused: #{title}", context do
      {server, tls} = openssl_server(context)
      assert_refused(server, tls, context.reason, context.about)
    end
  end

  # What the server plays stops at the handshake.
  @odd [
    {"a trusted signature of itself", {:self_signed, [@san]}, [:itself]},
    {"a trusted signature of itself as an authority", {:self_signed, @authority_itself},
     [:itself]},
    {"a common name only, with no name checked", {:issue, []}, [:ca, verify_hostname: false]}
  ]

  for {title, certificate, tls} <- @odd do
    @tag certificate: certificate, arguments: [], tls: tls
    test "accepted: #{title}", context do
      {server, tls} = openssl_server(context)
      name = start_cluster!(server, tls: tls, login_timeout: 100)

      eventually("a handshake", fn ->
        {:ok, stats} = Palladion.stats(name)
        stats.handshakes_full > 0
      end)
    end
  end

  test "accepted: a trusted signature of itself, by a server that answers" do
    server = Testkit.start_server(issuer: :self)
    name = ready_cluster!(server, tls: [cacertfile: server.server_certfile])
    assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
  end

  test "refused: a port that speaks plain text, and one that doesn't" do
    secure = Testkit.start_server()
    plain = Testkit.start_server(tls: false)
    assert_refused(plain, [cacertfile: secure.cacertfile], :not_tls, "client_encryption_options")
    assert_refused(secure, false, :server_requires_tls, "cacertfile:")
  end

  defp openssl_server(%{directory: directory, authority: authority} = context) do
    name = "server-#{System.unique_integer([:positive])}"
    {cert, key} = certificate(context.certificate, directory, authority, name)
    server = TLSServer.start!(["-cert", cert, "-key", key] ++ context.arguments)
    {server, tls(context.tls, authority, cert)}
  end

  defp tls([:ca | more], authority, _cert), do: [cacertfile: authority.cert] ++ more
  defp tls([:itself | more], _authority, cert), do: [cacertfile: cert] ++ more

  defp certificate({:issue, opts}, _directory, authority, name),
    do: Authority.issue!(authority, name, opts)

  defp certificate({:self_signed, extensions}, directory, _authority, name),
    do: Authority.self_signed!(directory, name, extensions: extensions)

  defp certificate(:below_intermediate, directory, authority, name) do
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"]
    {cert, key} = Authority.issue!(authority, "#{name}-issuer", extensions: extensions)
    directory |> Authority.open(cert, key) |> Authority.issue!(name, extensions: [@san])
  end
end
