defmodule Palladion.Integration.TLSSessionsTest do
  @moduledoc """
  That later connections resume the sessions of earlier ones, as both ends tell it: with the JDK's TLS by what Cassandra prints of
  each handshake, with BoringSSL by our own count, for it prints nothing.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Test.{Cassandra, SeedServers}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag needs_cassandra_5: "TLS by the JDK: that of 4.1 doesn't run on Java 17"

  setup_all do
    servers =
      for provider <- [:jdk, :openssl], do: {provider, SeedServers.server(:mtls, provider)}

    %{servers: Map.new(servers)}
  end

  for provider <- [:jdk, :openssl], version <- [:"tlsv1.2", :"tlsv1.3"] do
    @tag provider: provider, version: version
    test "the second connection is resumed: #{provider}, #{version}", context do
      server = context.servers[context.provider]
      name = cluster!(server, context, pool: [size: 1])
      assert [%{handshake: :full, version: version}] = handshakes(name, 1)
      assert version == context.version

      before = said(server)
      assert :ok = Palladion.reconnect(name, 30_000)
      assert [%{handshake: :resumed, version: ^version}] = handshakes(name, 1)

      if context.provider == :jdk do
        assert %{full: 0, resumed: 1, hello: [protocol]} = said(server, before)
        assert protocol == protocol(version)
      end

      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
    end

    @tag provider: provider, version: version
    test "of sixteen connections all but the first are resumed: #{provider}, #{version}",
         context do
      server = context.servers[context.provider]
      before = said(server)
      name = cluster!(server, context, pool: [size: 16])
      assert %{full: 1, resumed: 15} = name |> handshakes(16) |> kinds()
      # The control connection went to a contact point, whose sessions are not the node's.
      assert %{handshakes_full: 2, handshakes_resumed: 15} = stats(name)
      if context.provider == :jdk, do: assert(%{full: 2, resumed: 15} = said(server, before))

      # Once more, all at once.
      before = said(server)
      assert :ok = Palladion.reconnect(name, 60_000)
      assert %{full: 0, resumed: 16} = name |> handshakes(16) |> kinds()
      assert %{handshakes_full: 2, handshakes_resumed: 31, handshakes_failed: 0} = stats(name)
      if context.provider == :jdk, do: assert(%{full: 0, resumed: 16} = said(server, before))
    end
  end

  test "without a cache each handshake is a full one, at both ends", %{servers: %{jdk: server}} do
    before = said(server)
    name = cluster!(server, %{}, pool: [size: 2], session_cache: false)
    assert %{full: 2, resumed: 0} = name |> handshakes(2) |> kinds()
    assert :ok = Palladion.reconnect(name, 30_000)
    assert %{handshakes_full: 5, handshakes_resumed: 0, sessions_stored: 0} = stats(name)
    assert %{full: 5, resumed: 0} = said(server, before)
  end

  defp cluster!(server, context, options) do
    {tls, options} = Keyword.split(options, [:session_cache])
    tls = if version = context[:version], do: [versions: [version]] ++ tls, else: tls
    file = &Path.join(server.certs_dir, &1)
    identity = [certfile: file.("client.crt"), keyfile: file.("client.key")]
    ready_cluster!(server, [tls: [cacertfile: server.cacertfile] ++ identity ++ tls] ++ options)
  end

  # What protects the connections of the only node, once all are open.
  defp handshakes(name, count) do
    eventually("#{count} connections", fn ->
      {:ok, %{endpoints: [%{connections: connections}]}} = Palladion.status(name)
      if length(connections) == count, do: Enum.map(connections, & &1.tls)
    end)
  end

  defp kinds(handshakes) do
    Map.merge(%{full: 0, resumed: 0}, Enum.frequencies_by(handshakes, & &1.handshake))
  end

  defp stats(name), do: elem({:ok, _} = Palladion.stats(name), 1)

  # How many handshakes of each kind the server has printed, since it was asked before.
  defp said(server), do: byte_size(Cassandra.output(server))

  defp said(server, offset) do
    output = Cassandra.output(server)
    text = binary_part(output, offset, byte_size(output) - offset)
    found = for {what, pattern} <- words(), do: {what, Regex.scan(pattern, text)}
    counts = for {what, matches} <- found, do: {what, length(matches)}
    counts |> Map.new() |> Map.put(:hello, for([_, protocol] <- found[:hello], do: protocol))
  end

  # The JDK's.
  defp words do
    %{
      hello: ~r/Negotiated protocol version: (\S+)/,
      full: ~r/Produced server Certificate (?:handshake )?message/,
      resumed: ~r/Valid stateless session ticket found|\|Resuming session: /
    }
  end

  defp protocol(:"tlsv1.2"), do: "TLSv1.2"
  defp protocol(:"tlsv1.3"), do: "TLSv1.3"
end
