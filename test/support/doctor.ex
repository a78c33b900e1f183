defmodule Palladion.Test.Doctor do
  @moduledoc """
  What the doctor sees, as recorded; a library that reports as it is told.

      seen = Doctor.seen(probes: ["tlsv1.3": Doctor.probe(cql: %{login: {:bad_credentials, %{}}})])
  """

  alias Palladion.Config.Protocol
  alias Palladion.Doctor.Observations

  # 2026-01-01.
  @now 1_767_225_600

  @doc "An endpoint with which all is well, but for what is given."
  def seen(changes \\ []) do
    {settings, changes} = Keyword.pop(changes, :settings, %{})

    struct!(
      %Observations{
        host: "db1.example",
        port: 9042,
        time: @now,
        settings: settings(settings),
        address: "10.0.0.1",
        resolution: {:ok, ["10.0.0.1"]},
        resolution_us: 400,
        dials: [{"10.0.0.1", :ok, 200}],
        probes: ["tlsv1.3": probe(), "tlsv1.2": probe(tls: %{version: :"tlsv1.2"}, cql: nil)],
        old_versions: ["tlsv1.1": :refused, tlsv1: :refused]
      },
      changes
    )
  end

  def settings(changes \\ %{}) do
    Map.merge(
      %{
        tls: true,
        verify: :peer,
        verified_name: "db1.example",
        versions: [:"tlsv1.3", :"tlsv1.2"],
        client_certificate: false,
        session_cache: true,
        expiry_warning: 30,
        login: true,
        by_certificate: false,
        protocol: %Protocol{}
      },
      Map.new(changes)
    )
  end

  @doc "What the library reports of one connection; `tls:`, `cql:` and `resumption:` change parts, or are `nil`."
  def probe(changes \\ []) do
    %{
      connect_us: 200,
      tls: part(tls(), changes, :tls),
      resumption: part(%{tickets: 2, handshake: :resumed, error: nil}, changes, :resumption),
      cql: part(cql(), changes, :cql),
      error: changes[:error]
    }
  end

  @doc "One that came no further than TCP."
  def stopped(error), do: probe(tls: nil, resumption: nil, cql: nil, error: error)

  defp part(recorded, changes, key) do
    case Keyword.fetch(changes, key) do
      {:ok, nil} -> nil
      {:ok, changes} -> Map.merge(recorded, Map.new(changes))
      :error -> recorded
    end
  end

  defp tls do
    %{
      version: :"tlsv1.3",
      cipher: "TLS13_AES_256_GCM_SHA384",
      group: "x25519",
      handshake: :full,
      duration_us: 2_100,
      certificates: [certificate()],
      sni: "db1.example",
      verified_name: "db1.example",
      verdict: :ok,
      client_certificate_requested: false,
      client_certificate_sent: false
    }
  end

  defp cql do
    %{
      supported: %{
        "CQL_VERSION" => ["3.4.6"],
        "COMPRESSION" => ["snappy", "lz4"],
        "PROTOCOL_VERSIONS" => ["3/v3", "4/v4", "5/v5"]
      },
      authenticator: "org.apache.cassandra.auth.PasswordAuthenticator",
      mechanism: "PLAIN",
      login: :ok,
      protocol_version: 4
    }
  end

  # Of db1.example, by Example CA, from 2025-12-31 to 2026-12-31.
  @certificate """
  MIIBjDCCATKgAwIBAgIBATAKBggqhkjOPQQDAjAVMRMwEQYDVQQDDApFeGFtcGxl
  IENBMB4XDTI1MTIzMTAwMDAwMFoXDTI2MTIzMTAwMDAwMFowKDEUMBIGA1UEAwwL
  ZGIxLmV4YW1wbGUxEDAOBgNVBAoMB0V4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjO
  PQMBBwNCAATDm+KLHtIuumdwUrI2iySyOhXXmIShwTi5rKO80wJYEu9sMSQ+KnLA
  3LuUCkXf/+pBf/2exMaGdp2JT6wUmUeIo2AwXjAcBgNVHREEFTATggtkYjEuZXhh
  bXBsZYcECgAAATAdBgNVHQ4EFgQU50ZgWn/Z6O5rBlwu1daiZ+j7nuswHwYDVR0j
  BBgwFoAUZh2FTlCLfRzl0nJA8P0dVWI4bMcwCgYIKoZIzj0EAwIDSAAwRQIhAPWf
  b8F33whXZyAVhdTKzhfHtWkCwCcgu465zuGcTLbAAiAQfflvyGkaAdDJp2ra+PBA
  49U8eb1NEwiOQEB104sCxw==
  """

  @doc "The recorded server's certificate, DER."
  def certificate, do: Base.decode64!(@certificate, ignore: :whitespace)

  defmodule Library do
    @moduledoc """
    A native library that answers as `reply/1` told it in the test's process, and sends each request
    there as `{:probe, request}`.
    """

    @doc "`fun` gets the request, and gives the report or `{:error, {kind, map}}`."
    def reply(fun), do: Process.put(__MODULE__, fun)

    def callbacks_new, do: {:ok, make_ref()}

    def probe(request, ref) do
      [owner | _] = Process.get(:"$callers")
      send(owner, {:probe, request})
      {:dictionary, dictionary} = Process.info(owner, :dictionary)

      with %{} = report <- List.keyfind(dictionary, __MODULE__, 0) |> elem(1) |> apply([request]) do
        send(self(), {ref, report})
        {:ok, make_ref()}
      end
    end
  end

  @doc "An environment without a network: one address, open, and `Library`."
  def environment(changes \\ %{}) do
    Map.merge(
      %{
        native: Library,
        answer: fn _argument -> Agent.start_link(fn -> nil end) end,
        resolve: fn _host, _timeout -> {:ok, ["10.0.0.1"]} end,
        dial: fn _address, _port, _timeout -> :ok end,
        old_tls: fn _version, _address, _port, _sni, _timeout -> :refused end,
        now: fn -> @now end
      },
      Map.new(changes)
    )
  end
end
