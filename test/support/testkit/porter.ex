defmodule Palladion.Test.Testkit.Porter do
  @moduledoc """
  The process with the port to `palladion-testkit`: one for all tests. It writes commands as lines,
  gives their answers to who asked, and stops servers whose owners are gone.
  """

  use GenServer

  alias Palladion.Test.Testkit.Binary

  @line 65_536
  # The binary reads no longer lines: it ends at one, and all servers with it.
  @longest_line 4 * 1024 * 1024

  @doc "Starts a server that belongs to the caller; gives what the binary answers."
  @spec start_server(Enumerable.t()) :: %{String.t() => String.t()}
  def start_server(arguments), do: call({:start, arguments})

  @doc "Stops a server."
  @spec stop_server(id :: pos_integer) :: :ok
  def stop_server(id), do: call({:stop, id})

  @doc "Has a command carried out; gives what the binary answers, or raises what is wrong with it."
  @spec command(String.t(), Enumerable.t()) :: %{String.t() => String.t()}
  def command(name, arguments), do: call({:command, name, arguments})

  @doc "Stops all servers and the process they run in."
  @spec stop_all() :: :ok
  def stop_all do
    if Process.whereis(__MODULE__), do: GenServer.stop(__MODULE__), else: :ok
  end

  @doc "Arguments as `KEY=VALUE KEY=VALUE`."
  @spec pairs(Enumerable.t()) :: String.t()
  def pairs(arguments),
    do: Enum.map_join(arguments, " ", fn {key, value} -> "#{key}=#{encode(value)}" end)

  @doc "`KEY=VALUE KEY=VALUE` as a map."
  @spec parse_pairs(String.t()) :: %{String.t() => String.t()}
  def parse_pairs(text) do
    for pair <- String.split(text, " ", trim: true), into: %{} do
      [key, value] = String.split(pair, "=", parts: 2)
      {URI.decode(key), URI.decode(value)}
    end
  end

  defp call(request) do
    case GenServer.call(porter(), request, :infinity) do
      {:ok, answer} -> answer
      {:error, message} -> raise "palladion-testkit: #{message}"
    end
  end

  # One for all tests, started by the first.
  defp porter do
    case GenServer.start(__MODULE__, [], name: __MODULE__, timeout: :infinity) do
      {:ok, pid} -> pid
      {:error, {:already_started, pid}} -> pid
      {:error, reason} -> raise "palladion-testkit does not start: #{inspect(reason)}"
    end
  end

  @impl GenServer
  def init([]) do
    Process.flag(:trap_exit, true)
    System.at_exit(fn _status -> stop_all() end)
    binary = Binary.path!()
    dir = Path.join(Binary.target(), "testkit-#{System.pid()}")

    port = Port.open({:spawn_executable, binary}, [:binary, :exit_status, line: @line, args: []])

    {:ok, %{port: port, dir: dir, line: [], last: 0, asked: %{}, owners: %{}}}
  end

  @impl GenServer
  def handle_call({:start, arguments}, {owner, _} = from, state) do
    arguments = [{"dir", state.dir} | arguments]
    {:noreply, ask(state, "start", arguments, {:start, from, owner})}
  end

  def handle_call({:stop, id}, from, state) do
    {:noreply, state |> disown(id) |> ask("stop", [{"id", id}], {:stop, from, id})}
  end

  def handle_call({:command, name, arguments}, from, state) do
    {:noreply, ask(state, name, arguments, {:command, from})}
  end

  @impl GenServer
  def handle_info({port, {:data, {:noeol, part}}}, %{port: port} = state) do
    {:noreply, %{state | line: [state.line | part]}}
  end

  def handle_info({port, {:data, {:eol, part}}}, %{port: port} = state) do
    line = IO.iodata_to_binary([state.line | part])
    [tag, status | rest] = String.split(line, " ", parts: 3)
    {asked, others} = Map.pop!(state.asked, tag)
    state = %{state | line: [], asked: others}
    {:noreply, answer(asked, result(status, rest), state)}
  end

  def handle_info({:DOWN, monitor, :process, _, _}, state) do
    ids = for {id, ^monitor} <- state.owners, do: id

    state =
      Enum.reduce(ids, state, fn id, state ->
        state |> disown(id) |> ask("stop", [{"id", id}], {:stop, nil, id})
      end)

    {:noreply, state}
  end

  def handle_info({port, {:exit_status, status}}, %{port: port} = state) do
    {:stop, {:exit_status, status}, state}
  end

  def handle_info({:EXIT, _, _}, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, state), do: File.rm_rf!(state.dir)

  defp ask(state, name, arguments, asked) do
    tag = Integer.to_string(state.last + 1)
    line = "#{tag} #{name} #{pairs(arguments)}\n"

    if byte_size(line) > @longest_line do
      message = "#{name} takes #{byte_size(line)} bytes, a line at most #{@longest_line}"
      answer(asked, {:error, message}, state)
    else
      true = Port.command(state.port, line)
      %{state | last: state.last + 1, asked: Map.put(state.asked, tag, asked)}
    end
  end

  defp answer({:start, from, owner}, {:ok, pairs} = result, state) do
    GenServer.reply(from, result)
    monitor = Process.monitor(owner)
    put_in(state.owners[String.to_integer(pairs["id"])], monitor)
  end

  defp answer({:stop, from, id}, result, state) do
    File.rm_rf!(Path.join(state.dir, Integer.to_string(id)))
    # Goes with the last server's files, but not from under one that starts.
    starting? = Enum.any?(state.asked, fn {_tag, asked} -> elem(asked, 0) == :start end)
    unless starting?, do: File.rmdir(state.dir)

    if from, do: GenServer.reply(from, with({:ok, _} <- result, do: {:ok, :ok}))
    state
  end

  defp answer({_, from}, result, state) do
    GenServer.reply(from, result)
    state
  end

  defp answer({:start, from, _owner}, result, state) do
    GenServer.reply(from, result)
    state
  end

  defp disown(state, id) do
    {monitor, owners} = Map.pop(state.owners, id)
    if monitor, do: Process.demonitor(monitor, [:flush])
    %{state | owners: owners}
  end

  defp result("ok", rest), do: {:ok, rest |> List.first("") |> parse_pairs()}
  defp result("error", rest), do: {:error, rest |> List.first("") |> URI.decode()}

  defp encode(values) when is_list(values), do: values |> Enum.join(",") |> encode()
  defp encode(value), do: value |> to_string() |> URI.encode(&URI.char_unreserved?/1)
end
