defmodule Palladion.Config.VerifiedName do
  @moduledoc false
  # Internal: the names of TLS: which one a certificate must carry, and which one a server is
  # asked for.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{ContactPoint, Host, NodeFunction, NodeKey, NodeTemplate, Options}
  alias Palladion.{ConfigError, VerifiedName}

  @path [:tls, :verify_hostname]

  @forms "a host name, an IP address, a template, a map, a function, " <>
           "{module, function, arguments} or false"

  @doc false
  # Takes the values of TLS options.
  @spec parse(map()) ::
          {%{verified: VerifiedName.t(), sni: Host.t() | false | nil}, [ConfigError.problem()]}
  def parse(values) do
    {sni, sni_problems} = sni(values.server_name_indication)
    {verified, verified_problems} = verified(values)
    # SNI, when given, is the verified name as well, as it is for :ssl.
    default = if sni == false, do: nil, else: sni

    {%{sni: sni, verified: if(verified == nil, do: default, else: verified)},
     sni_problems ++ verified_problems}
  end

  defp sni(nil), do: {nil, []}
  defp sni(:disable), do: {false, []}

  defp sni(name) do
    case Host.parse(name) do
      {:ok, text, :name} ->
        {text, []}

      {:ok, _text, :address} ->
        message =
          "can't be an IP address, which TLS doesn't send; to check for another address " <>
            "than the contact point's, give it as verify_hostname:"

        {nil, [problem([:tls, :server_name_indication], :invalid_name, message)]}

      {:error, text} ->
        message = "#{Options.show(name)} #{text}; must be a host name or :disable"
        {nil, [problem([:tls, :server_name_indication], :invalid_name, message)]}
    end
  end

  defp verified(%{verify_hostname: nil}), do: {nil, []}
  defp verified(%{verify_hostname: false}), do: {false, []}

  defp verified(%{verify: :verify_none}) do
    {nil, [problem(@path, :conflict, "would have no effect with verify: :verify_none")]}
  end

  defp verified(%{verify_hostname: given}) do
    case parse_form(given) do
      {form, []} -> {form, []}
      {_form, problems} -> {nil, problems}
    end
  end

  defp parse_form(map) when is_map(map) and not is_struct(map) do
    {pairs, problems} = Enum.map_reduce(map, [], &parse_pair/2)
    {{:map, Map.new(pairs)}, Enum.reverse(problems)}
  end

  defp parse_form(function) when is_function(function) or tuple_size(function) == 3 do
    {function, problems} = NodeFunction.check(function, @path)
    {{:function, function}, problems}
  end

  defp parse_form(given) do
    text =
      case Options.charlist(given) do
        {:ok, text} -> text
        :error -> given
      end

    if is_binary(text) and text =~ ~r/[{}]/, do: template(text), else: name(text)
  end

  defp name(given) do
    case Host.parse(given) do
      {:ok, name, _kind} -> {name, []}
      {:error, text} -> {nil, [invalid_name("#{Options.show(given)} #{text}; must be #{@forms}")]}
    end
  end

  defp template(text) do
    with [] <- NodeTemplate.check(text),
         {:ok, _name} <- VerifiedName.of({:template, text}, NodeTemplate.sample()),
         [] <- NodeTemplate.check_domain(text) do
      {{:template, text}, []}
    else
      {:error, error} -> {nil, [invalid_name("is a template that gives no host name: #{error}")]}
      wrong -> {nil, Enum.map(wrong, &invalid_name/1)}
    end
  end

  defp parse_pair({given, value}, problems) do
    case {NodeKey.parse(given), VerifiedName.name(value)} do
      {{:ok, key, _kind}, {:ok, name}} ->
        {{key, name}, problems}

      {:error, _} ->
        message =
          "#{Options.show(given)} is no key: a node is found by a host name or an IP address, " <>
            "either with or without \":port\", or by its host id"

        {{given, value}, [invalid_name(message) | problems]}

      {_key, {:error, text}} ->
        {{given, value}, [invalid_name("of #{Options.show(given)}: #{text}") | problems]}
    end
  end

  defp invalid_name(message), do: problem(@path, :invalid_name, message)

  @doc false
  # Contact points with the names that they have by it. Functions that a user gave run here.
  @spec put([ContactPoint.t()], VerifiedName.t()) ::
          {[ContactPoint.t()], [ConfigError.problem()]}
  def put(points, verified) do
    {points, problems} = points |> Enum.map(&put_one(&1, verified)) |> Enum.unzip()
    {points, Enum.concat(problems)}
  end

  defp put_one(point, verified) do
    case ask(verified, point) do
      {:ok, name} ->
        {%{point | verified_name: name}, []}

      {reason, text} ->
        message = "failed for the contact point #{NodeKey.location(point.host, point.port)}: "
        {point, [problem(@path, reason, message <> text)]}
    end
  end

  defp ask(verified, point) do
    case VerifiedName.of_contact_point(verified, point) do
      {:ok, name} -> {:ok, name}
      {:error, text} when is_binary(text) -> {:invalid_name, text}
      {:error, reason} -> {:invalid_name, Options.show(reason)}
    end
  rescue
    # What was raised may have values in it that are nobody's business.
    error -> {:function_failed, failed("raised #{inspect(error.__struct__)}")}
  catch
    kind, _value -> {:function_failed, failed("ended with #{kind}")}
  end

  defp failed(what) do
    "the function #{what}; of a contact point only the address, which may be a host name, and " <>
      "the port are known, and nil leaves it its own name"
  end

  @doc false
  # What the native library checks for all endpoints alike.
  @spec to_native(VerifiedName.t()) :: Host.t() | false | nil
  def to_native(rule) when is_tuple(rule), do: nil
  def to_native(same_for_all), do: same_for_all
end
