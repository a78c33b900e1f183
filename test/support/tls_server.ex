defmodule Palladion.Test.TLSServer do
  @moduledoc """
  Servers that only shake hands, by `openssl s_server`, for what neither Cassandra nor the testkit does: X.509 v1, TLS 1.1, odd
  cipher suites, chains with a gap.

      server = TLSServer.start!(["-cert", cert, "-key", key, "-tls1_2"])

  What follows the handshake is never answered, and one connection is served at a time. The server ends with the test that
  started it, or with the VM.
  """

  use GenServer

  # The shell ends when its standard input does, whatever became of the VM, and takes the server along.
  @script """
  openssl s_server -www -accept 127.0.0.1:0 "$@" </dev/null &
  while read -r _; do :; done
  kill "$!"
  """

  @doc """
  Starts `openssl s_server` with these arguments on a free port of 127.0.0.1. What it gives has what `Palladion.Test.Clusters`
  asks for.
  """
  @spec start!([String.t()]) :: map
  def start!(arguments) do
    {:ok, pid} = GenServer.start_link(__MODULE__, arguments)
    port = GenServer.call(pid, :port, 10_000)
    %{host: "localhost", port: port, username: nil, cacertfile: nil}
  end

  @impl GenServer
  def init(arguments), do: {:ok, open(arguments)}

  @impl GenServer
  def handle_call(:port, _from, port), do: {:reply, await_port(port, ""), port}

  # What it says of each connection.
  @impl GenServer
  def handle_info({port, {:data, _}}, port), do: {:noreply, port}

  defp open(arguments) do
    Port.open({:spawn_executable, System.find_executable("sh")}, [
      :binary,
      :stderr_to_stdout,
      args: ["-c", @script, "tls-server" | arguments]
    ])
  end

  defp await_port(port, output) do
    receive do
      {^port, {:data, data}} ->
        output = output <> data

        case Regex.run(~r/ACCEPT \S+:(\d+)\n/, output) do
          [_, number] -> String.to_integer(number)
          nil -> await_port(port, output)
        end
    after
      5_000 -> raise "openssl s_server doesn't listen:\n#{output}"
    end
  end
end
