# Stands in for the package where it isn't installed. Asked by the application's folder, for
# the module that stands here would be found as well.
unless is_list(:code.lib_dir(:telemetry)) do
  defmodule :telemetry do
    @moduledoc "What Palladion calls of the package `:telemetry`, with the same meaning."

    require Logger

    @key {__MODULE__, :handlers}

    def attach(id, event, fun, config), do: attach_many(id, [event], fun, config)

    def attach_many(id, events, fun, config) when is_function(fun, 4) do
      change(fn handlers ->
        if Enum.any?(handlers, &(&1.id == id)) do
          {{:error, :already_exists}, handlers}
        else
          new =
            for event <- events,
                do: %{id: id, event_name: event, function: fun, config: config}

          {:ok, handlers ++ new}
        end
      end)
    end

    def detach(id) do
      change(fn handlers ->
        case Enum.reject(handlers, &(&1.id == id)) do
          ^handlers -> {{:error, :not_found}, handlers}
          others -> {:ok, others}
        end
      end)
    end

    def execute(event, measurements, metadata) when is_map(measurements) and is_map(metadata) do
      for %{event_name: ^event} = handler <- handlers() do
        try do
          handler.function.(event, measurements, metadata, handler.config)
        catch
          kind, reason ->
            detach(handler.id)

            Logger.error(
              "handler #{inspect(handler.id)} detached: " <>
                Exception.format(kind, reason, __STACKTRACE__)
            )
        end
      end

      :ok
    end

    def list_handlers(prefix) do
      Enum.filter(handlers(), &List.starts_with?(&1.event_name, prefix))
    end

    defp handlers, do: :persistent_term.get(@key, [])

    defp change(fun) do
      :global.trans({@key, self()}, fn ->
        {answer, handlers} = fun.(handlers())
        :persistent_term.put(@key, handlers)
        answer
      end)
    end
  end
end
