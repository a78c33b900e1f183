defmodule Palladion.Test.ChildVM do
  @moduledoc """
  A VM of its own for what would take the tests' VM along: ends, crashes, reloads.

      vm = ChildVM.start(Palladion.Test.LifecycleChild, %{server: server})
      :ready = ChildVM.receive(vm)
      ChildVM.send(vm, :halt)
      {0, ms} = ChildVM.await_exit(vm)

  The child runs `main/1` of a module that the tests have compiled. Both sides exchange terms, one a line, by standard input
  and output; all else that the child prints is kept, and is in the message of an error.
  """

  defstruct [:port, :os_pid, :id, :crash_dump]

  @marker "PALLADION_TEST_CHILD"
  @prefix "child> "
  @timeout 60_000

  @doc """
  Starts a VM and `module.main(argument)` in it.

    * `main:` - another function's name
    * `env:` - more of its environment
    * `erl:` - options of `erl`
  """
  def start(module, argument, options \\ []) do
    id = "#{System.pid()}-#{System.unique_integer([:positive])}"
    crash_dump = Path.join(System.tmp_dir!(), "palladion-#{id}.dump")

    env = [
      {@marker, id},
      {"PALLADION_TEST_ARGUMENT", encode(argument)},
      {"ERL_CRASH_DUMP", crash_dump},
      {"ELIXIR_ERL_OPTIONS", Enum.join(["+Bd" | options[:erl] || []], " ")}
      | Enum.to_list(options[:env] || [])
    ]

    port =
      Port.open({:spawn_executable, System.find_executable("elixir")}, [
        :binary,
        :exit_status,
        :hide,
        :stderr_to_stdout,
        line: 1_000_000,
        args:
          paths() ++
            [
              "-e",
              "#{inspect(__MODULE__)}.child(&#{inspect(module)}.#{options[:main] || "main"}/1)"
            ],
        env: for({name, value} <- env, do: {to_charlist(name), value && to_charlist(value)})
      ])

    {:os_pid, os_pid} = Port.info(port, :os_pid)
    Process.put({__MODULE__, port}, [])
    %__MODULE__{port: port, os_pid: os_pid, id: id, crash_dump: crash_dump}
  end

  # With protocols as a release has them: else each struct that is printed is looked for on the disk.
  defp paths do
    for directory <- ["ebin", "consolidated"],
        path <- ["-pa", Application.app_dir(:palladion, directory)],
        do: path
  end

  @doc "The next term that the child said."
  def receive(vm, timeout \\ @timeout) do
    case next(vm, timeout) do
      {:said, term} -> term
      {:exit, status} -> raise "the child ended with #{status}:\n#{output(vm)}"
    end
  end

  @doc "Says a term to the child."
  def send(vm, term), do: Port.command(vm.port, encode(term) <> "\n")

  @doc "Sends the child a signal, as `\"TERM\"`."
  def signal(vm, name) do
    {_, 0} = System.cmd("kill", ["-#{name}", "#{vm.os_pid}"])
    :ok
  end

  @doc "Waits for the child's end: its exit status (128 and more: a signal's) and how long that took in ms."
  def await_exit(vm, timeout \\ @timeout) do
    begin = System.monotonic_time(:millisecond)

    case next(vm, timeout) do
      {:exit, status} -> {status, System.monotonic_time(:millisecond) - begin}
      {:said, _term} -> await_exit(vm, timeout)
    end
  end

  @doc "What the child has printed apart from its terms."
  def output(vm), do: {__MODULE__, vm.port} |> Process.get() |> Enum.reverse() |> Enum.join("\n")

  @doc "The processes that are left of a child and of all that it started. Linux only; elsewhere none."
  def left(vm) do
    marker = "#{@marker}=#{vm.id}"

    for path <- Path.wildcard("/proc/[0-9]*/environ"),
        {:ok, environ} <- [File.read(path)],
        marker in String.split(environ, "\0"),
        do: path
  end

  @doc "Kills the child if it still runs, and removes its crash dump."
  def clean_up(vm) do
    # Not by the port: a child that hangs doesn't mind its input's end, and the port ends with the test.
    if running?(vm),
      do: System.cmd("kill", ["-KILL", "#{vm.os_pid}"], stderr_to_stdout: true)

    File.rm(vm.crash_dump)
    :ok
  end

  # Another process may have its number by now.
  defp running?(vm) do
    {arguments, _} = System.cmd("ps", ~w(-ww -o args= -p #{vm.os_pid}))
    arguments =~ "#{inspect(__MODULE__)}.child("
  end

  defp next(%{port: port} = vm, timeout) do
    receive do
      {^port, {:data, {:eol, @prefix <> term}}} ->
        {:said, decode(term)}

      {^port, {:data, {_eol, line}}} ->
        Process.put({__MODULE__, port}, [line | Process.get({__MODULE__, port})])
        next(vm, timeout)

      {^port, {:exit_status, status}} ->
        {:exit, status}
    after
      timeout ->
        output = output(vm)
        clean_up(vm)
        raise "the child said nothing for #{timeout} ms; before:\n#{output}"
    end
  end

  # ---- in the child

  @doc false
  def child(main) do
    {:ok, _} = Application.ensure_all_started(:palladion)
    "PALLADION_TEST_ARGUMENT" |> System.fetch_env!() |> decode() |> main.()
  end

  @doc "In the child: says a term to the test."
  def say(term), do: IO.puts(@prefix <> encode(term))

  @doc "In the child: the next term that the test said."
  def hear do
    case IO.gets("") do
      line when is_binary(line) -> line |> String.trim() |> decode()
      # The test has gone.
      _eof -> System.halt(99)
    end
  end

  defp encode(term), do: term |> :erlang.term_to_binary() |> Base.encode64()
  defp decode(text), do: text |> Base.decode64!() |> :erlang.binary_to_term()
end
