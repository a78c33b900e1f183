defmodule Palladion.Test.Clusters do
  @moduledoc """
  Clusters for tests: started under the test's own supervisor, with the server's CA and login.
  """

  import ExUnit.Callbacks, only: [start_supervised: 1, start_supervised!: 1]

  alias Palladion.Test.Matrix

  @doc "Starts a cluster on a server of the harness or the testkit and returns its name."
  def start_cluster!(server, options \\ []) do
    name = unique_name()
    start_supervised!({Palladion, options(server, [name: name] ++ options)})
    name
  end

  @doc "Like `start_cluster!/2`, but returns what the supervisor says."
  def start_cluster(server, options \\ []) do
    start_supervised({Palladion, options(server, [name: unique_name()] ++ options)})
  end

  @doc "A running cluster whose first connection is open."
  def ready_cluster!(server, options \\ []) do
    name = start_cluster!(server, options)
    :ok = Palladion.await_ready(name, 20_000)
    name
  end

  @doc "The options that a server needs, and the environment asks for; those given win."
  def options(server, given \\ []) do
    {protocol, given} = Keyword.pop(given, :protocol, [])

    Keyword.merge(
      [
        contact_points: [{server.host, server.port}],
        tls: tls(server),
        auth: auth(server),
        protocol: protocol(protocol),
        application_name: "palladion tests"
      ],
      given
    )
  end

  # A version and a compression go together, or don't. `version: nil` is a choice, too.
  defp protocol(given) do
    if Keyword.has_key?(given, :version) or given[:compression],
      do: given,
      else: Matrix.protocol() ++ given
  end

  defp tls(%{cacertfile: nil}), do: false
  defp tls(%{cacertfile: file}), do: [cacertfile: file]

  defp auth(%{username: nil}), do: nil

  defp auth(%{cacertfile: nil} = server) do
    [username: server.username, password: server.password, allow_plaintext_password: true]
  end

  defp auth(server), do: [username: server.username, password: server.password]

  # Few atoms: the tests' names are numbered.
  defp unique_name, do: :"cluster_#{System.unique_integer([:positive])}"

  @doc "A keyspace of the test module's own, dropped by nobody: the server is thrown away."
  def keyspace!(name, keyspace) do
    Palladion.query!(
      name,
      "CREATE KEYSPACE IF NOT EXISTS #{keyspace} WITH replication = " <>
        "{'class': 'SimpleStrategy', 'replication_factor': 1}",
      [],
      timeout: 30_000
    )

    keyspace
  end

  @doc "Polls, for what tells nobody of itself: for half a minute and more, since a busy machine is no reason to fail."
  def eventually(what, fun, tries \\ 1_200)
  def eventually(what, _fun, 0), do: raise("waited in vain: #{what}")

  def eventually(what, fun, tries) do
    fun.() ||
      (
        Process.sleep(25)
        eventually(what, fun, tries - 1)
      )
  end

  @doc "The messages in the calling process's mailbox."
  def mailbox do
    {:messages, messages} = Process.info(self(), :messages)
    messages
  end
end
