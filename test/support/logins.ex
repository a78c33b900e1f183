defmodule Palladion.Test.Logins do
  @moduledoc """
  What tests of logins have in common: roles, what a cluster says of its logins, and what a real server has seen of them.
  """

  import ExUnit.Assertions
  import Palladion.Test.Clusters

  alias Palladion.ConnectionError
  alias Palladion.Test.{Cassandra, Testkit}

  # What is in a hurry to log in again.
  @hurried [reconnect: [min: 50, max: 400]]

  @doc "Options of a node that writes into its log who logs in, and who is refused: `Cassandra.server(:tls, audited())`."
  def audited do
    lines = [
      "audit_logging_options:",
      "  enabled: true",
      "  included_categories: AUTH",
      "  logger:",
      "    - class_name: FileAuditLogger"
    ]

    [name: :audited, env: %{"CASS_YAML_EXTRA" => Enum.join(lines, "\\n")}]
  end

  @doc "The logins of a role that a node has `accepted` and `refused`, as Unix times in ms, oldest first."
  def audit(server, role) do
    entries =
      for line <- server |> Cassandra.log() |> String.split("\n"),
          [_, ms, kind] <- [Regex.run(~r/timestamp:(\d+)\|type:LOGIN_(SUCCESS|ERROR)\|/, line)],
          # Who was refused has no name there, but in the text.
          line =~ ~r/user:#{role}\|| #{role} /,
          do: {kind, String.to_integer(ms)}

    %{
      accepted: for({"SUCCESS", ms} <- entries, do: ms),
      refused: for({"ERROR", ms} <- entries, do: ms)
    }
  end

  @doc "A new role's name. It may do what callers of `Palladion.Test.Traffic` do."
  def role!(admin, password) do
    role = "role_#{System.unique_integer([:positive])}"
    create_role!(admin, role, password)
    role
  end

  @doc "Makes a role, again if it was there before."
  def create_role!(admin, role, password) do
    change!(admin, "CREATE ROLE #{role} WITH PASSWORD = '#{password}' AND LOGIN = true")
    change!(admin, "GRANT ALL PERMISSIONS ON KEYSPACE palladion_traffic TO #{role}")
  end

  @doc "Changes a role's password on the server."
  def set_password!(admin, role, password),
    do: change!(admin, "ALTER ROLE #{role} WITH PASSWORD = '#{password}'")

  @doc "What changes roles and takes its time."
  def change!(admin, statement), do: Palladion.query!(admin, statement, [], timeout: 30_000)

  @doc "Options for a cluster that tries again soon, with those that are given."
  def soon(options), do: Keyword.merge(@hurried, options)

  @doc "A new client id, by which a server knows the connections of one cluster."
  def client_id do
    <<a::32, b::16, _::4, c::12, _::2, d::14, e::48>> = :crypto.strong_rand_bytes(16)

    [{a, 8}, {b, 4}, {0x4000 + c, 4}, {0x8000 + d, 4}, {e, 12}]
    |> Enum.map_join("-", fn {part, digits} ->
      part |> Integer.to_string(16) |> String.downcase() |> String.pad_leading(digits, "0")
    end)
  end

  @doc "Who the connections with a client id have logged in as, for the server: a name each."
  def seen(admin, client_id) do
    statement = "SELECT username, client_options FROM system_views.clients"

    for %{"username" => username, "client_options" => %{"CLIENT_ID" => ^client_id}} <-
          Palladion.query!(admin, statement).rows,
        do: username
  end

  @doc "The last login that a server of the testkit has accepted."
  def last_login(server) do
    server |> Testkit.connections() |> Enum.filter(& &1.user) |> List.last()
  end

  @doc "The open connections, the control connection's first."
  def connections(name) do
    {:ok, %{endpoints: endpoints, control: control}} = Palladion.status(name)
    List.wrap(control) ++ Enum.flat_map(endpoints, & &1.connections)
  end

  @doc "Waits until so many connections are open, the control connection among them."
  def await_connections(name, count) do
    eventually("#{count} connections", fn -> length(connections(name)) == count end)
  end

  @doc "By which mechanisms the open connections have logged in, each once."
  def mechanisms(name), do: name |> connections() |> Enum.map(& &1.mechanism) |> Enum.uniq()

  @doc "Why the last attempt to connect failed: waits for one."
  def await_failure(name, reason) do
    eventually("an attempt fails with #{reason}", fn ->
      match?({:ok, %{last_error: %ConnectionError{reason: ^reason}}}, Palladion.status(name))
    end)

    {:ok, %{last_error: error}} = Palladion.status(name)
    error
  end

  @doc "Starts a cluster that nobody lets in, and gives the error of its last attempt, which must have this reason."
  def refused!(server, options, reason) do
    name = start_cluster!(server, soon(options))

    eventually("an attempt fails", fn ->
      match?({:ok, %{last_error: %ConnectionError{}}}, Palladion.status(name))
    end)

    {:ok, %{last_error: error}} = Palladion.status(name)
    ExUnit.Callbacks.stop_supervised!(name)
    assert error.reason == reason, "refused with #{inspect(error)}"

    assert {:error, %ConnectionError{}} = Palladion.query(name, "SELECT 1", [], timeout: 100)
    assert {what, advice} = ConnectionError.Reasons.all()[reason]
    assert Exception.message(error) =~ what
    assert Exception.message(error) =~ advice
    error
  end

  @doc "All counters."
  def stats(name) do
    {:ok, stats} = Palladion.stats(name)
    stats
  end
end
