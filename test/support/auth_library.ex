defmodule Palladion.Test.AuthLibrary do
  @moduledoc """
  A native library that the test plays, for the process that answers the questions of logins: what it is told comes as messages to the test.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [start_supervised!: 1]

  alias Palladion.Cluster.{Authenticators, NodeTable}
  alias Palladion.Config.Seal
  alias Palladion.Test.TelemetryEvents

  @class "com.example.KeyAuthenticator"

  # The functions of Palladion.Native. Callbacks and handle are the test's pid and an agent.

  @doc false
  def callbacks_adopt({test, _agent}) do
    send(test, {:adopted, self()})
    {:ok, :ok}
  end

  @doc false
  def callbacks_answer({test, _agent}, id, answer) do
    send(test, {:answer, id, answer, self()})
    {:ok, :ok}
  end

  @doc false
  def auth_update({test, agent}, auth) do
    send(test, {:auth_update, auth, self()})

    case Agent.get_and_update(agent, &Enum.split(&1, 1)) do
      [outcome] -> outcome.()
      [] -> {:ok, :ok}
    end
  end

  # The test's part

  @doc "What a process needs, with these options of a login in force: a map of `ask` and `timeout` will do."
  def new(auth, options \\ []) do
    agent = start_supervised!({Agent, fn -> [] end})
    table = NodeTable.new()
    NodeTable.put_auth(table, Authenticators.known(auth))
    name = :"auth_#{System.unique_integer([:positive])}"

    config = %{
      name: name,
      auth: auth,
      timeouts: %{login: Keyword.get(options, :login_timeout, 10_000)},
      pool: %{max_handshakes: Keyword.get(options, :max_handshakes, 8)}
    }

    argument = %{
      callbacks: {self(), agent},
      handle: {self(), agent},
      config: config,
      table: table,
      native: __MODULE__
    }

    %{argument: argument, agent: agent, table: table, name: name}
  end

  @doc "Starts the process, which can be asked when this returns."
  def start(%{argument: argument}) do
    pid = start_supervised!({Authenticators, argument})
    assert_receive {:adopted, ^pid}, 5_000
    pid
  end

  @doc "An authenticator in force, as `auth: [authenticator: {module, options}]` has it."
  def authenticator(module, options, timeout \\ 5_000),
    do: %{ask: {:authenticator, module, Seal.mask(options)}, timeout: timeout}

  @doc "Asks the first question of a login."
  def begin(pid, id, kind \\ :authenticator) do
    endpoint = %{host: "db1.example", port: 9042, address: "10.0.0.1", class: @class}
    send(pid, {:palladion_auth, id, {:begin, kind, endpoint}})
  end

  @doc "Asks another."
  def ask(pid, id, question), do: send(pid, {:palladion_auth, id, question})

  @doc "The answer to a question, and who gave it."
  def answered(id) do
    assert_receive {:answer, ^id, answer, worker}, 5_000
    {answer, worker}
  end

  @doc "The answer to a question."
  def answer(id), do: id |> answered() |> elem(0)

  @doc "The error that a question was answered with."
  def error(id) do
    assert {:error, text} = answer(id)
    assert is_binary(text)
    text
  end

  @doc "Returns when the process has ended."
  def ended(pid) do
    monitor = Process.monitor(pid)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}, 5_000
  end

  @doc "The next updates end with what these functions return, in the process that asks for them."
  def outcomes(%{agent: agent}, outcomes), do: Agent.update(agent, fn _ -> outcomes end)

  @doc "Takes part in telemetry for the time of the test; gives what `events/2` wants."
  def attach do
    id = TelemetryEvents.attach()
    ExUnit.Callbacks.on_exit(fn -> :telemetry.detach(id) end)
    id
  end

  @doc "The events of this cluster so far, by their names."
  def events(context, id) do
    for {[:palladion | event], _measurements, %{cluster: name}} <- TelemetryEvents.take(id),
        name == context.name,
        do: event
  end
end
