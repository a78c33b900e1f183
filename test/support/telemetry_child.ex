defmodule Palladion.Test.TelemetryChild do
  @moduledoc """
  A VM without `:telemetry`.
  """

  import Palladion.Test.ChildVM, only: [hear: 0, say: 1]

  alias Palladion.Telemetry
  alias Palladion.Telemetry.Span

  @doc false
  def main(cluster) do
    remove_package()
    span = Span.start(:query, %{cluster: cluster, statement: "SELECT a FROM b", slow_after: 0})
    error = %Palladion.ConnectionError{reason: :timeout}

    say(%{
      available?: Telemetry.available?(),
      execute: Telemetry.execute([:node, :up], %{system_time: 1}, %{cluster: cluster}),
      stop: Span.stop(span, %{error: error}),
      retry: Span.retry(span, %{decision: :same, attempt: 1, error: error}),
      exception: Span.exception(span, :error, :badarg, []),
      attach: Telemetry.attach_default_logger(),
      detach: Telemetry.detach_default_logger()
    })
  end

  @doc "Uses a cluster there, with these options."
  def use_cluster(options) do
    remove_package()
    {:ok, _} = Palladion.start_link(options)
    name = options[:name]
    :ok = Palladion.await_ready(name, 20_000)
    {:ok, pending} = Palladion.submit(name, "SELECT echo(int)", [3])
    {:ok, cancelled} = Palladion.submit(name, "SELECT numbers(1)")

    say(%{
      available?: Telemetry.available?(),
      query: Palladion.query!(name, "SELECT echo(int)", [7]).rows,
      error: elem(Palladion.query(name, "SELECT refused"), 1).reason,
      await: Palladion.await(pending) |> elem(1) |> Map.fetch!(:rows),
      cancel: Palladion.cancel(cancelled),
      prepare: Palladion.prepare!(name, "SELECT echo(text)").bind
    })

    hear()
    {:ok, nodes} = Palladion.nodes(name)
    say(Enum.map(nodes, &{&1.address, &1.state}))
    :ok = Palladion.stop(name)
  end

  # Everything else is loaded before the path to it is gone.
  defp remove_package do
    {:ok, modules} = :application.get_key(:palladion, :modules)
    Enum.each(modules, &Code.ensure_loaded/1)

    for module <- [:telemetry], path = :code.which(module), is_list(path) do
      :code.del_path(:filename.dirname(path))
      :code.purge(module)
      :code.delete(module)
    end
  end
end
