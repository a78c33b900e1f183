defmodule Palladion.Doctor.Probes do
  @moduledoc false
  # Internal: asks the native library to connect, once for each version of TLS.
  #
  # One connection logs in, so that a wrong password counts once with the server, and only with a
  # version that the configuration allows.

  alias Palladion.{Application, ConfigError}

  @timeouts [:connect_timeout, :tls_timeout, :login_timeout]
  @versions [:"tlsv1.3", :"tlsv1.2"]

  # What is looked for first is that which nearly all servers speak.
  @usual_version 4
  @oldest_version 3

  @doc false
  # `native` is the configuration as the native library takes it. The allowed versions come
  # first, the newest of them before the others.
  @spec run(module(), map(), String.t(), :inet.port_number(), String.t()) ::
          keyword(map()) | [{nil, map()}]
  def run(library, %{tls: nil} = native, host, port, address) do
    [{nil, probe(library, request(native, host, port, address, nil, true))}]
  end

  def run(library, native, host, port, address) do
    {allowed, others} = Enum.split_with(@versions, &(&1 in native.tls.versions))

    {probes, _logged_in?} =
      Enum.map_reduce(allowed ++ others, false, fn version, done? ->
        tls = %{native.tls | versions: [version]}
        cql? = version in allowed and not done?
        probe = probe(library, request(native, host, port, address, tls, cql?))
        {{version, probe}, done? or probe.tls != nil}
      end)

    probes
  end

  defp request(native, host, port, address, tls, cql?) do
    {workers, decoders} = Application.threads()

    native
    |> Map.take([:auth, :callbacks, :client_id, :driver_version, :protocol_version] ++ @timeouts)
    |> Map.merge(%{
      host: host,
      port: port,
      address: address,
      tls: tls,
      cql: cql?,
      resume: tls != nil,
      workers: workers,
      decoders: decoders
    })
  end

  # Without a version a cluster goes down, too. Nobody has logged in by then.
  defp probe(library, %{protocol_version: nil} = request) do
    case probe(library, %{request | protocol_version: @usual_version}) do
      %{error: {:unsupported_protocol, _details}} ->
        probe(library, %{request | protocol_version: @oldest_version})

      report ->
        report
    end
  end

  defp probe(library, request) do
    case connect(library, request) do
      %{cql: %{} = cql} = report ->
        %{report | cql: Map.put(cql, :protocol_version, request.protocol_version)}

      report ->
        report
    end
  end

  # In a process of its own: an answer that came too late would stay in the caller's mailbox.
  defp connect(library, request) do
    fn -> ask(library, request) end
    |> Task.async()
    |> Task.await(:infinity)
    |> case do
      {:ok, report} -> report
      {:error, error} -> raise ConfigError.from_native(nil, error)
    end
  end

  defp ask(library, request) do
    ref = make_ref()

    with {:ok, native_request} <- library.probe(request, ref) do
      result = await(ref, limit(request))
      # It must live until its answer is there.
      _ = native_request
      {:ok, result}
    end
  end

  defp await(ref, limit) do
    receive do
      {^ref, %{} = report} -> report
      {^ref, {:error, {kind, details}}} -> broken({kind, details})
    after
      limit -> broken({:timeout, %{timeout: limit}})
    end
  end

  # The library keeps to its timeouts; this is for when it doesn't. It connects twice.
  defp limit(request) do
    3 * (request.connect_timeout + request.tls_timeout + request.login_timeout) + 5_000
  end

  defp broken(error), do: %{connect_us: 0, tls: nil, resumption: nil, cql: nil, error: error}
end
