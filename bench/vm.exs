defmodule Bench.VM do
  # One workload in a VM of its own: what it starts with does not depend on what ran before.

  @root Path.expand("..", __DIR__)
  @no_busy_wait "+sbwt none +sbwtdcpu none +sbwtdio none"

  @doc "What `bench/client.exs` measures of a run."
  def run(run, server) do
    argument = run |> Map.put(:server, server) |> :erlang.term_to_binary() |> Base.encode64()

    arguments =
      ["--erl", erl_options(run.sbwt), "-pa", Application.app_dir(:palladion, "ebin")] ++
        [Path.join(@root, "bench/client.exs"), argument]

    {output, status} = System.cmd("elixir", arguments)

    with 0 <- status, [_, result] <- String.split(output, "result> ") do
      result |> String.trim() |> Base.decode64!() |> :erlang.binary_to_term()
    else
      _ -> raise "the client ended with #{status}:\n#{output}"
    end
  end

  defp erl_options("default"), do: "+Bd"
  defp erl_options("none"), do: "+Bd " <> @no_busy_wait
end
